"""People are to be told that a job begins where it had waited long, and of its first attempt alone."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentStore
from heliograph.jobs.store.apply import apply_change
from heliograph.jobs.store.changes import LONG_WAIT_MILLISECONDS, ChangePlan, to
from heliograph.jobs.store.claims import Finish, Progress
from tests.parts.jobs import QUEUE, TROUBLE, WORKER, Stores, lease_of

LONG = timedelta(milliseconds=LONG_WAIT_MILLISECONDS)
SOON = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)


async def let_wait(stores: Stores, job: Job, length: timedelta) -> None:
    """Let everything that happened to a job have happened earlier."""
    earlier = {"$subtract": ["$$this.at", int(length / timedelta(milliseconds=1))]}
    history = {"$map": {"input": "$history", "in": {"$mergeObjects": ["$$this", {"at": earlier}]}}}
    await stores.collection.update_one({"_id": job.id}, [{"$set": {"history": history, "due": True}}])


async def waited(stores: Stores, length: timedelta = LONG + MINUTE, **fields: object) -> Job:
    job = await stores.submit(**fields)
    await let_wait(stores, job, length)
    return job


async def claim_one(stores: Stores) -> Job:
    return await stores.claim()


async def claim_among_several(stores: Stores) -> Job:
    stores.claims._most_at_once = 8
    (job,) = await stores.claims.claim_several([QUEUE], WORKER, most=8)
    return job


async def claim_as_agent(stores: Stores) -> Job:
    claimed = await stores.claims.claim([QUEUE], WORKER, into=State.CLAIMED)
    assert claimed
    assert "claimed" not in await stores.told(claimed)
    begun = await AgentStore(stores.database).begin(claimed.id, lease_of(claimed).token, Progress(stage="SLEWING"), "a")
    assert begun
    return begun


BEGINNINGS = [claim_one, claim_among_several, claim_as_agent]


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize(("length", "told"), [(LONG - MINUTE, ["queued"]), (LONG + MINUTE, ["queued", "running"])])
async def test_its_beginning_is_told_after_a_long_wait(
    stores: Stores, begin: Callable[[Stores], Awaitable[Job]], length: timedelta, told: list[str]
) -> None:
    job = await waited(stores, length)
    assert (await begin(stores)).id == job.id
    assert await stores.told(job) == told


async def test_nobody_is_told_where_nobody_is_to_be(stores: Stores) -> None:
    job = await waited(stores, notify={"told": False})
    await stores.claim()
    assert await stores.told(job) == []


async def test_what_an_agent_reports_afterwards_is_not_told_again(stores: Stores) -> None:
    job = await waited(stores)
    token, agents = lease_of(await claim_as_agent(stores)).token, AgentStore(stores.database)
    for stage in ("EXPOSING", "READING"):
        await let_wait(stores, job, LONG + MINUTE)
        assert await agents.progress(job.id, token, Progress(stage=stage), State.RUNNING)
        assert await agents.begin(job.id, token, Progress(stage=stage), "a") is None
    assert await stores.told(job) == ["queued", "running"]


async def test_a_change_within_running_is_no_beginning(stores: Stores) -> None:
    job = await waited(stores)
    await stores.claim()
    await let_wait(stores, job, LONG + MINUTE)
    where = {"_id": job.id, "state": State.RUNNING.value}
    assert await apply_change(stores.collection, where, ChangePlan("operator", to(State.RUNNING)))
    assert await stores.told(job) == ["queued", "running"]


async def test_an_agent_that_claimed_long_ago_began_after_a_wait_all_the_same(stores: Stores) -> None:
    job = await stores.submit()
    claimed = await stores.claims.claim([QUEUE], WORKER, into=State.CLAIMED)
    assert claimed
    await let_wait(stores, job, LONG + MINUTE)
    assert await AgentStore(stores.database).begin(job.id, lease_of(claimed).token, Progress(), "a")
    assert await stores.told(job) == ["queued", "running"]


async def test_another_attempt_is_not_told(stores: Stores) -> None:
    job = await waited(stores)
    first = await stores.claim()
    assert await stores.finish(first, Finish(State.FAILED, error=TROUBLE, retry_after=SOON))
    await let_wait(stores, job, LONG + MINUTE)
    second = await stores.claim()
    assert (second.id, second.attempt) == (job.id, 2)
    assert await stores.told(job) == ["queued", "running"]


async def test_a_reopened_job_that_waits_again_is_told_again(stores: Stores) -> None:
    job = await waited(stores)
    assert await stores.finish(await stores.claim(), Finish(State.DONE, 1))
    await stores.jobs.reopen(job.id, "ada")
    await let_wait(stores, job, LONG + MINUTE)
    await stores.claim()
    assert await stores.told(job) == ["queued", "running", "done", "queued", "running"]


async def test_a_reopened_job_that_begins_at_once_is_not(stores: Stores) -> None:
    job = await waited(stores)
    assert await stores.finish(await stores.claim(), Finish(State.DONE, 1))
    await stores.jobs.reopen(job.id, "ada")
    await stores.claim()
    assert await stores.told(job) == ["queued", "running", "done", "queued"]
