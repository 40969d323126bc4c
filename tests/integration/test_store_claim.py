"""Work is handed out once, the most urgent and oldest first, and not when it is no longer wanted."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from heliograph.jobs.model import Job
from heliograph.jobs.states import ErrorKind, State
from tests.parts.jobs import ALREADY_OVER, QUEUE, WORKER, Stores, done, failed, lease_of


async def test_by_priority_then_age(stores: Stores) -> None:
    for name, priority in (("old", 0), ("urgent", 5), ("young", 0), ("idle", -5)):
        await stores.submit(name=name, priority=priority)
    assert [(await stores.claim()).name for _ in range(4)] == ["urgent", "old", "young", "idle"]
    assert await stores.claims.claim([QUEUE], WORKER) is None


async def test_by_priority_across_queues_and_of_the_given_ones_alone(stores: Stores) -> None:
    for queue, priority in (("a", 1), ("b", 2), ("c", 3)):
        await stores.submit(queue=queue, priority=priority)
    assert [(await stores.claim(timedelta(seconds=30), "a", "b")).queue for _ in range(2)] == ["b", "a"]
    assert await stores.claims.claim(["a", "b"], WORKER) is None


async def test_not_what_is_not_due(stores: Stores) -> None:
    await stores.submit(not_before=datetime.now(UTC) + timedelta(hours=1))
    assert await stores.claims.claim([QUEUE], WORKER) is None


async def test_a_claim_is_a_change_with_a_lease(stores: Stores) -> None:
    await stores.submit()
    before = await stores.database.now()
    job = await stores.claim(timedelta(seconds=20))
    lease = lease_of(job)
    assert (job.state, job.seq, job.series, job.attempt, lease.holder) == (State.RUNNING, 2, 1, 1, WORKER)
    assert [(change.seq, change.state, change.by) for change in job.history] == [
        (1, "queued", "ada"),
        (2, "running", WORKER),
    ]
    assert job.started_at is not None
    assert lease.until is not None
    assert lease.until - job.started_at == timedelta(seconds=20)
    assert before <= job.started_at == job.updated_at == job.history[-1].at
    assert [entry["seq"] for entry in (await stores.stored(job))["outbox"]] == [1, 2]
    assert await stores.told(job) == ["queued"]


async def test_every_attempt_is_counted_and_has_a_token_of_its_own(stores: Stores) -> None:
    await stores.submit()
    first = await stores.claim()
    assert await stores.finish(first, failed(retry_after=timedelta(0)))
    second = await stores.claim()
    assert (second.id, second.attempt) == (first.id, 2)
    assert lease_of(second).token != lease_of(first).token


async def test_eight_claimers_take_each_of_200_jobs_exactly_once(stores: Stores) -> None:
    submitted = await asyncio.gather(*(stores.submit() for _ in range(200)))

    async def claim_all() -> list[str]:
        claimed = []
        while job := await stores.claims.claim([QUEUE], WORKER):
            claimed.append(job.id)
        return claimed

    claimed = Counter(job for jobs in await asyncio.gather(*(claim_all() for _ in range(8))) for job in jobs)
    assert claimed == Counter(job.id for job in submitted)


async def test_one_that_somebody_wished_to_cancel_ends_cancelled(stores: Stores) -> None:
    job = await stores.submit()
    await stores.collection.update_one({"_id": job.id}, {"$set": {"cancel_requested": True}})
    ended = await stores.claim()
    assert_ended_unclaimed(ended, ErrorKind.CANCELLED)
    assert await stores.told(job) == ["queued", "cancelled"]


async def test_one_that_comes_too_late_ends_cancelled(stores: Stores) -> None:
    await stores.submit(start_before=datetime.now(UTC) - timedelta(seconds=1))
    assert_ended_unclaimed(await stores.claim(), ErrorKind.EXPIRED)


async def test_one_that_is_in_time_runs(stores: Stores) -> None:
    await stores.submit(start_before=datetime.now(UTC) + timedelta(hours=1))
    assert (await stores.claim()).state is State.RUNNING


def assert_ended_unclaimed(job: Job, kind: ErrorKind) -> None:
    assert (job.state, job.attempt, job.lease, job.started_at) == (State.CANCELLED, 0, None, None)
    assert job.error is not None
    assert job.error.kind is kind
    assert job.ended_at is not None


async def test_renewal_names_what_is_held_and_what_is_to_be_cancelled(stores: Stores) -> None:
    for _ in range(4):
        await stores.submit()
    kept, wished, lost, ended = [await stores.claim() for _ in range(4)]
    await stores.jobs.cancel(wished.id, "ada")
    await stores.collection.update_one({"_id": lost.id}, {"$set": {"lease.token": "another"}})
    await stores.finish(ended, done())
    tokens = {job.id: lease_of(job).token for job in (kept, wished, lost, ended)}
    assert await stores.claims.renew(tokens) == {kept.id: False, wished.id: True}


async def test_renewal_moves_the_end_of_the_lease_by_its_own_length(stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim(timedelta(seconds=20))
    await stores.collection.update_one(
        {"_id": job.id}, {"$set": {"lease.until": datetime.now(UTC) - timedelta(seconds=1)}}
    )
    before = await stores.database.now()
    await stores.claims.renew({job.id: lease_of(job).token})
    until = (await stores.stored(job))["lease"]["until"]
    assert before + timedelta(seconds=20) <= until <= await stores.database.now() + timedelta(seconds=20)


async def test_nothing_renews_a_lease_that_was_taken_back(stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim(ALREADY_OVER)
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, timedelta(hours=1))
    assert await stores.claims.renew({job.id: lease_of(job).token}) == {}
    assert (await stores.jobs.get(job.id)).state is State.QUEUED


@pytest.mark.parametrize("until", [None, "missing"])
async def test_a_lease_without_an_end_is_never_lost(stores: Stores, until: str | None) -> None:
    await stores.submit()
    job = await stores.claim(ALREADY_OVER)
    change = {"$set": {"lease.until": None}} if until is None else {"$unset": {"lease.until": ""}}
    await stores.collection.update_one({"_id": job.id}, change)
    assert await stores.upkeep.lost_leases() == []


async def test_several_at_once_in_their_order(stores: Stores) -> None:
    for name, priority in (("old", 0), ("urgent", 5), ("young", 0), ("idle", -5)):
        await stores.submit(name=name, priority=priority)
    claimed = await stores.claims.claim_several([QUEUE], WORKER, most=3)
    assert [job.name for job in claimed] == ["urgent", "old", "young"]
    for job in claimed:
        now = await stores.jobs.get(job.id)
        assert (job.state, job.seq, job.attempt, lease_of(job).token) == (
            now.state,
            now.seq,
            now.attempt,
            lease_of(now).token,
        )
        assert await stores.finish(job, done())


async def test_eight_claimers_of_several_take_each_of_200_jobs_exactly_once(stores: Stores) -> None:
    submitted = await asyncio.gather(*(stores.submit() for _ in range(200)))

    async def claim_all() -> list[str]:
        claimed = []
        while jobs := await stores.claims.claim_several([QUEUE], WORKER, most=5):
            claimed += [job.id for job in jobs]
        return claimed

    claimed = Counter(job for jobs in await asyncio.gather(*(claim_all() for _ in range(8))) for job in jobs)
    assert claimed == Counter(job.id for job in submitted)


async def test_of_several_those_that_may_not_be_begun_end_cancelled(stores: Stores) -> None:
    wished = await stores.submit(priority=2)
    await stores.collection.update_one({"_id": wished.id}, {"$set": {"cancel_requested": True}})
    late = await stores.submit(priority=1, start_before=datetime.now(UTC) - timedelta(seconds=1))
    fit = await stores.submit()
    seen = [job for _ in range(3) for job in await stores.claims.claim_several([QUEUE], WORKER, most=3)]
    assert {job.id: job.state for job in seen} == {
        fit.id: State.RUNNING,
        wished.id: State.CANCELLED,
        late.id: State.CANCELLED,
    }


async def test_of_several_no_more_of_a_queue_than_its_share(stores: Stores) -> None:
    for queue in ("a", "a", "a", "b"):
        await stores.submit(queue=queue)
    claimed = await stores.claims.claim_several(["a", "b"], WORKER, most=4, shares={"a": 2})
    assert [job.queue for job in claimed] == ["a", "a", "b"]


async def test_of_several_one_that_must_begin_in_time_comes_in_its_turn(stores: Stores) -> None:
    for name, priority, hours in (("late", 9, -1), ("urgent", 5, 1), ("plain", 0, None)):
        start_before = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
        await stores.submit(name=name, priority=priority, start_before=start_before)
    claimed = await stores.claims.claim_several([QUEUE], WORKER, most=3)
    assert [job.name for job in claimed] == ["urgent", "plain"]
    assert await stores.upkeep.expire_unstarted()


async def test_whether_it_was_begun_before_in_its_series(stores: Stores) -> None:
    job = await stores.submit()
    first = await stores.claim()
    assert not first.begun_before
    await stores.finish(first, failed(hands_back=True))
    (again,) = await stores.claims.claim_several([QUEUE], WORKER, most=2)
    assert again.begun_before
    assert (await stores.jobs.get(job.id)).begun_before
    await stores.finish(again, done())
    await stores.jobs.reopen(job.id, "ada")
    assert not (await stores.claim()).begun_before
