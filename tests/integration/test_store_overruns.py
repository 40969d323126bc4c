"""A job of an agent that takes longer than its ``timeout_seconds`` is ended, once, and nobody else's."""

from datetime import UTC, datetime, timedelta

import pytest

from heliograph.jobs.model import Job, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store import AgentStore
from heliograph.jobs.store.agents import Report
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.jobs.store.upkeep import Overrun
from tests.parts.jobs import QUEUE, Stores, done, lease_of
from tests.parts.waiting import until

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
AGENT = "queue:dome/dome-1"


@pytest.fixture
def agents(stores: Stores) -> AgentStore:
    return AgentStore(stores.database)


async def claim(stores: Stores, lease: timedelta | None = MINUTE) -> Job:
    """Claim the next job as agents do."""
    job = await stores.claims.claim([QUEUE], AGENT, lease, into=State.CLAIMED)
    assert job is not None
    return job


async def begin(agents: AgentStore, job: Job) -> Job:
    begun = await agents.begin(job.id, lease_of(job).token, Progress(), AGENT)
    assert begun is not None
    return begun


async def report_done(agents: AgentStore, job: Job) -> Job | None:
    token = lease_of(job).token
    return await agents.finish(job.id, done(), Report(token, "digest"), AGENT)


async def overdue(stores: Stores, job: Job) -> Overrun:
    """Let the time of a held job be over for an hour."""
    where = {"_id": job.id, "lease.deadline": {"$type": "date"}}
    assert (
        await stores.collection.update_one(where, {"$set": {"lease.deadline": datetime.now(UTC) - HOUR}})
    ).matched_count
    [overrun] = await stores.upkeep.overruns()
    return overrun


async def test_its_time_counts_from_the_claim_and_anew_from_its_begin(stores: Stores, agents: AgentStore) -> None:
    await stores.submit(timeout_seconds=90.5)
    claimed = await claim(stores)
    limit = timedelta(seconds=90.5)
    assert lease_of(claimed).deadline == claimed.updated_at + limit
    begun = await begin(agents, claimed)
    assert begun.started_at is not None
    assert lease_of(begun).deadline == begun.started_at + limit
    reported = await agents.progress(claimed.id, lease_of(claimed).token, Progress(0.5), State.RUNNING)
    assert lease_of(reported).deadline == lease_of(begun).deadline
    beat = await agents.renew(claimed.id, lease_of(claimed).token)
    assert beat is not None
    assert beat.deadline == lease_of(begun).deadline


async def test_what_has_no_limit_or_a_worker_has_no_deadline(stores: Stores, agents: AgentStore) -> None:
    await stores.submit()
    assert lease_of(await begin(agents, await claim(stores))).deadline is None
    await stores.submit(timeout_seconds=1e-3)
    job = await stores.claim()
    assert lease_of(job).deadline is None

    async def is_past() -> bool:
        return await stores.database.now() > job.updated_at + timedelta(milliseconds=1)

    await until(is_past)
    assert await stores.upkeep.overruns() == []


@pytest.mark.parametrize("is_begun", [False, True], ids=["claimed", "running"])
@pytest.mark.parametrize("lease", [MINUTE, None], ids=["leased", "held"])
async def test_one_that_takes_too_long_fails_for_good(
    stores: Stores, agents: AgentStore, lease: timedelta | None, is_begun: bool
) -> None:
    await stores.submit(timeout_seconds=0.05)
    job = await claim(stores, lease)
    if is_begun:
        await begin(agents, job)
        await agents.progress(job.id, lease_of(job).token, Progress(0.5, "EXPOSING", message="3 of 6"), State.RUNNING)
    await until(stores.upkeep.overruns)
    [overrun] = await stores.upkeep.overruns()
    assert await stores.upkeep.end_overrun(overrun, MINUTE)
    ended = await stores.jobs.get(job.id)
    assert (ended.state, ended.lease, ended.stage) == (State.FAILED, None, None)
    never = "it was held for longer than its limit of 0.05 s, and never said to be running"
    why = "it ran longer than its limit of 0.05 s" if is_begun else never
    assert ended.error == JobError(ErrorKind.TIMEOUT, why)
    assert await stores.story(job) == ["queued", "claimed", *(["running"] if is_begun else []), "failed"]
    assert await stores.told(job) == ["queued", "failed"]
    assert await stores.upkeep.overruns() == []
    assert not await stores.upkeep.end_overrun(overrun, MINUTE)
    assert await report_done(agents, job) is None
    assert await agents.renew(job.id, lease_of(job).token) is None
    assert await stores.claims.claim([QUEUE], AGENT) is None


async def test_one_that_somebody_wished_to_stop_is_cancelled(stores: Stores) -> None:
    await stores.submit(timeout_seconds=60)
    job = await claim(stores)
    await stores.jobs.cancel(job.id, "ada")
    assert await stores.upkeep.end_overrun(await overdue(stores, job), MINUTE)
    ended = await stores.jobs.get(job.id)
    assert (ended.state, ended.error and ended.error.kind) == (State.CANCELLED, ErrorKind.CANCELLED)


@pytest.mark.parametrize(
    ("lease", "grace"),
    [(MINUTE, MINUTE), (None, timedelta(seconds=30)), (timedelta(days=7), timedelta(minutes=5))],
    ids=["leased", "held", "leased for a week"],
)
async def test_its_agent_has_the_time_to_report_after_an_outage(
    stores: Stores, lease: timedelta | None, grace: timedelta
) -> None:
    await stores.submit(timeout_seconds=60)
    overrun = await overdue(stores, await claim(stores, lease))
    too_short = grace - timedelta(milliseconds=1)
    assert await stores.upkeep.overruns(too_short) == []
    assert not await stores.upkeep.end_overrun(overrun, too_short)
    assert await stores.upkeep.overruns(grace) == [overrun]
    assert await stores.upkeep.end_overrun(overrun, grace)


async def test_what_became_of_it_meanwhile_counts(stores: Stores, agents: AgentStore) -> None:
    """Between the look and the write: begun, so that its time counts anew; done; another agent's."""
    for _ in range(3):
        await stores.submit(timeout_seconds=60, max_attempts=3)
    begun, ended, another = [await claim(stores) for _ in range(3)]
    for job in (begun, ended, another):
        await stores.collection.update_one({"_id": job.id}, {"$set": {"lease.deadline": datetime.now(UTC) - HOUR}})
    overruns = {overrun.job: overrun for overrun in await stores.upkeep.overruns()}
    await begin(agents, begun)
    assert await report_done(agents, ended)
    release = Finish(State.QUEUED, hands_back=True)
    assert await agents.finish(another.id, release, Report(lease_of(another).token, "digest"), AGENT)
    again = await claim(stores)
    assert again.id == another.id
    await overdue(stores, again)
    for job in (begun, ended, another):
        assert not await stores.upkeep.end_overrun(overruns[job.id], HOUR)
    found = [(await stores.jobs.get(job.id)).state for job in (begun, ended, another)]
    assert found == [State.RUNNING, State.DONE, State.CLAIMED]


async def test_each_attempt_has_its_own_time(stores: Stores, agents: AgentStore) -> None:
    await stores.submit(timeout_seconds=60)
    first = await begin(agents, await claim(stores, timedelta(milliseconds=-1)))
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, HOUR)
    assert await stores.upkeep.overruns() == []
    second = await claim(stores)
    assert lease_of(second).deadline == second.updated_at + MINUTE
    assert first.started_at == second.started_at, "what counts is this claim, not the begin of an earlier one"
