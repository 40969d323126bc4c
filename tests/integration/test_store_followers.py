"""What comes after other jobs runs once they have ended as it asks, whoever notices, and never before."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph.bus.memory import MemoryBus
from heliograph.errors import NotFoundError
from heliograph.ids import new_id
from heliograph.jobs.model import AfterCondition, Job
from heliograph.jobs.reconciler import Reconciler
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store import followers as module
from heliograph.jobs.store.claims import Finish
from heliograph.jobs.store.documents import new_document
from heliograph.jobs.store.followers import FollowerStore, Released
from heliograph.locks import Locks
from heliograph.storage import Files
from tests.parts.jobs import QUEUE, WORKER, Stores, done, failed, new_job
from tests.parts.waiting import until

HOUR = timedelta(hours=1)
FIRST = 9  # a priority


async def ended(stores: Stores, finish: Finish | None = None, **fields: Any) -> Job:
    """Submit a job, run it and end it, as the stores do it and without anybody who notices."""
    job = await stores.submit(queue="of predecessors", **fields)
    held = await stores.claim(HOUR, "of predecessors")
    assert held.id == job.id
    assert await stores.finish(held, finish or done())
    return held


async def follower(stores: Stores, *predecessors: Job, **fields: Any) -> Job:
    return await stores.submit(after=tuple(job.id for job in predecessors), **fields)


async def claimable(stores: Stores) -> list[str]:
    """Return what can be claimed now, and claim it."""
    found = []
    while job := await stores.claims.claim([QUEUE], WORKER):
        found.append(job.id)
    return found


async def test_a_follower_is_claimed_only_after_its_release(stores: Stores) -> None:
    first = await ended(stores)
    job = await follower(stores, first)
    assert (job.waits_for, job.after) == ((first.id,), (first.id,))
    assert await claimable(stores) == []
    assert await stores.followers.release([first.id]) == Released(queues=frozenset({QUEUE}))
    assert await claimable(stores) == [job.id]
    released = await stores.jobs.get(job.id)
    assert (released.after, released.waits_for) == ((first.id,), ())
    assert released.updated_at > job.updated_at
    assert await stores.followers.release([first.id]) == Released()


async def test_it_waits_for_the_last_of_several(stores: Stores) -> None:
    first, second, third = [await ended(stores) for _ in range(3)]
    job = await follower(stores, first, second, third)
    assert await stores.followers.release([second.id]) == Released()
    assert (await stores.jobs.get(job.id)).waits_for == (first.id, third.id)
    assert await claimable(stores) == []
    assert await stores.followers.release([third.id, first.id, new_id()]) == Released(queues=frozenset({QUEUE}))
    assert await claimable(stores) == [job.id]


async def test_a_predecessor_that_is_not_over_releases_nobody(stores: Stores) -> None:
    waiting = await stores.submit(queue="of predecessors")
    job = await follower(stores, waiting)
    assert await stores.followers.release([waiting.id]) == Released()
    assert await stores.followers.release_over([waiting.id]) == Released()
    reopened = await ended(stores, failed(), priority=FIRST)
    await stores.collection.update_one({"_id": job.id}, {"$set": {"waits_for": [waiting.id, reopened.id]}})
    await stores.jobs.reopen(reopened.id, "ada")
    assert await stores.followers.release([waiting.id, reopened.id]) == Released()
    assert (await stores.jobs.get(job.id)).state is State.QUEUED


@pytest.mark.parametrize("end", ["failed", "was cancelled", "is gone"])
async def test_one_that_did_not_end_well_cancels_who_waits_for_it(stores: Stores, end: str) -> None:
    good = await ended(stores)
    bad = await ended(stores, Finish(State.CANCELLED) if end == "was cancelled" else failed())
    if end == "is gone":
        await stores.collection.delete_one({"_id": bad.id})
    job, patient = await follower(stores, good, bad), await follower(
        stores, good, bad, after_condition=AfterCondition.OVER
    )  # fmt: skip
    assert await stores.followers.release([bad.id]) == Released((job.id,))
    cancelled = await stores.jobs.with_history(job.id)
    assert cancelled.state is State.CANCELLED
    assert cancelled.error is not None
    assert cancelled.error.kind is ErrorKind.CANCELLED
    assert cancelled.error.message == f"the job {bad.id}, which it waits for, {end}"
    assert [change.state for change in cancelled.history] == [State.QUEUED, State.CANCELLED]
    assert await stores.told(job) == ["queued", "cancelled"]
    assert await stores.followers.release([bad.id, good.id]) == Released(queues=frozenset({QUEUE}))
    assert await claimable(stores) == [patient.id]


async def test_what_is_released_still_waits_for_its_time(stores: Stores) -> None:
    first = await ended(stores)
    later = await follower(stores, first, not_before=datetime.now(UTC) + HOUR)
    past = await follower(stores, first, not_before=datetime.now(UTC) - HOUR)
    await stores.upkeep.make_due()
    assert await claimable(stores) == []  # its time has come, and its predecessor is not over as far as anybody saw
    await stores.followers.release([first.id])
    assert await claimable(stores) == [past.id]
    await stores.collection.update_one({"_id": later.id}, {"$set": {"not_before": datetime.now(UTC)}})
    assert await stores.upkeep.make_due() == 1
    assert await claimable(stores) == [later.id]


async def test_a_waiting_follower_is_cancelled_and_its_own_followers_with_it(stores: Stores) -> None:
    first = await stores.submit(queue="of predecessors")
    second = await follower(stores, first)
    third = await follower(stores, second)
    await stores.jobs.cancel(second.id, "ada")
    assert await stores.followers.release([second.id]) == Released((third.id,))


async def test_a_follower_that_is_run_again_runs_at_once(stores: Stores) -> None:
    first = await ended(stores, failed())
    job = await follower(stores, first)
    await stores.followers.release([first.id])
    again = await stores.jobs.reopen(job.id, "ada")
    assert (again.after, again.waits_for, again.state) == ((first.id,), (), State.QUEUED)
    assert await stores.followers.release([first.id]) == Released()
    assert await claimable(stores) == [job.id]


async def test_one_that_is_run_again_meanwhile_is_not_ended(stores: Stores) -> None:
    """It is queued, as one that waits is, when the release that saw it waiting comes to end it."""
    first = await ended(stores, failed())
    job = await follower(stores, first)
    seen = await stores.followers._followers([first.id])
    outcomes = await stores.followers._outcomes([first.id])
    await stores.jobs.cancel(job.id, "ada")
    await stores.jobs.reopen(job.id, "ada")
    assert await stores.followers._release(seen, outcomes) == Released()
    assert (await stores.jobs.get(job.id)).state is State.QUEUED


async def test_of_many_releases_at_a_time_each_ending_is_one(stores: Stores) -> None:
    good, bad = await ended(stores), await ended(stores, failed())
    doomed = [await follower(stores, bad) for _ in range(10)]
    free = [await follower(stores, good) for _ in range(10)]
    several = [FollowerStore(stores.database) for _ in range(4)]
    released = await asyncio.gather(*(each.release([good.id, bad.id]) for each in several))
    assert sorted(job for each in released for job in each.ended) == sorted(job.id for job in doomed)
    for job in doomed:
        assert await stores.story(job) == ["queued", "cancelled"]
    assert sorted(await claimable(stores)) == sorted(job.id for job in free)


async def test_the_reconciler_releases_what_a_dead_process_left(stores: Stores) -> None:
    """The process that ended the predecessors died before it could release anybody."""
    good, bad = await ended(stores), await ended(stores, failed())
    free, doomed = await follower(stores, good), await follower(stores, good, bad)
    still = await follower(stores, await stores.submit(queue="of predecessors"))
    async with MemoryBus() as bus:
        hints: list[str] = []
        await bus.subscribe_hints([QUEUE], hints.append)
        relay = Relay(stores.outbox, stores.followers, bus)
        reconciler = Reconciler(
            stores.database, stores.upkeep, stores.followers, relay, Locks(stores.database, "another"),
            Files(stores.database, "artifacts"), Files(stores.database, "uploads"),
        )  # fmt: skip
        await reconciler.reconcile()
        assert relay.backlog == 1
        await until(lambda: hints == [QUEUE])
    assert await claimable(stores) == [free.id]
    assert (await stores.jobs.get(doomed.id)).state is State.CANCELLED
    assert (await stores.jobs.get(still.id)).waits_for == still.after


async def test_the_relay_releases_when_a_job_ends(stores: Stores) -> None:
    """A chain of three, of which the first fails: each ending is told, and brings about the next."""
    async with MemoryBus() as bus:
        hints: list[str] = []
        await bus.subscribe_hints([QUEUE], hints.append)
        await bus.subscribe_told(lambda _: asyncio.sleep(0))
        relay = Relay(stores.outbox, stores.followers, bus)
        running = asyncio.create_task(relay.run())
        good, bad = await ended(stores), await ended(stores, failed())
        free = await follower(stores, good)
        second = await follower(stores, bad)
        third = await follower(stores, second)
        relay.nudge(good.id)
        relay.nudge(bad.id)
        await until(lambda: QUEUE in hints)
        await until(lambda: is_over(stores, third))
        running.cancel()
        await asyncio.wait({running})
    assert await claimable(stores) == [free.id]


async def is_over(stores: Stores, job: Job) -> bool:
    return (await stores.jobs.get(job.id)).ended_at is not None


async def test_sweeps_of_a_few_come_round_to_all(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sweep looks at two predecessors' worth of what waits; one that many wait for is passed in one step."""
    monkeypatch.setattr(module, "SWEPT", 3)
    popular = await stores.submit(queue="of predecessors")
    others = [await stores.submit(queue="of predecessors") for _ in range(6)]
    for _ in range(5):
        await follower(stores, popular)
    mixed = [await follower(stores, popular, *reversed(others[number : number + 2])) for number in range(5)]
    job = await stores.submit(queue="of predecessors", priority=FIRST)
    last = await follower(stores, job)
    held = await stores.claim(HOUR, "of predecessors")
    assert held.id == job.id
    assert await stores.finish(held, done())
    for other in others:
        await stores.jobs.cancel(other.id, "ada")
    swept = Released()
    for _ in range(12):
        swept += await stores.followers.sweep()
    assert set(swept.ended) == {each.id for each in mixed}
    assert await claimable(stores) == [last.id]


async def test_a_sweep_costs_the_same_however_much_waits(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand wait, and a sweep looks at fifty: what it reads of them is told by the server's own profiler."""
    monkeypatch.setattr(module, "SWEPT", 50)
    predecessor = await stores.submit(queue="of predecessors")
    documents = [new_document(new_job(after=(predecessor.id,)), datetime.now(UTC)) for _ in range(1000)]
    await stores.collection.insert_many(documents)
    database: Any = stores.database.raw
    await database.command("profile", 2)
    await stores.followers.sweep()
    await database.command("profile", 0)
    reads = {"ns": f"{database.name}.jobs", "op": {"$in": ["query", "getmore"]}}
    seen = await database["system.profile"].find(reads).to_list(100)
    assert 50 <= sum(one["docsExamined"] for one in seen) <= 102
    assert all(one["planSummary"].startswith("IXSCAN { waits_for: 1 }") or "_id" in one["planSummary"] for one in seen)


async def test_a_crowd_of_followers_is_released_in_steps(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLLOWERS_AT_ONCE", 7)
    good, bad = await ended(stores), await ended(stores, failed())
    documents = [new_document(new_job(after=(job.id,)), datetime.now(UTC)) for job in (good, bad) for _ in range(20)]
    await stores.collection.insert_many(documents)
    released = await stores.followers.release([bad.id, good.id])
    assert len(released.ended) == 20
    assert len(await claimable(stores)) == 20


async def test_a_removed_follower_is_nobody_s_concern(stores: Stores) -> None:
    first = await ended(stores)
    job = await follower(stores, first)
    await stores.collection.delete_one({"_id": job.id})
    assert await stores.followers.release([first.id]) == Released()
    with pytest.raises(NotFoundError):
        await stores.jobs.get(job.id)


async def test_a_claim_that_ends_the_follower_s_predecessor_counts_too(stores: Stores) -> None:
    """It ended ``cancelled`` in the claim, for it came too late."""
    late = await stores.submit(queue="of predecessors", start_before=datetime.now(UTC) - HOUR)
    job = await follower(stores, late)
    claimed = await stores.claims.claim(["of predecessors"], WORKER)
    assert claimed is not None
    assert claimed.state is State.CANCELLED
    assert (await stores.followers.release([late.id])).ended == (job.id,)
