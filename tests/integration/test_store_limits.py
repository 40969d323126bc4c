"""No more jobs of a queue, or of an owner there, are held at a time than the limits say, and no place is lost."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store.documents import new_document
from tests.parts.jobs import ALREADY_OVER, QUEUE, WORKER, Stores, done, failed, new_job

LEASE = timedelta(seconds=30)
TWO = {QUEUE: Limits(total=2)}
ONE_EACH = {QUEUE: Limits(per_owner=1)}


async def claim(stores: Stores, limits: dict[str, Limits], *queues: str, lease: timedelta = LEASE) -> Job | None:
    return await stores.claims.claim(queues or (QUEUE,), WORKER, lease, limits=limits)


async def test_no_more_than_the_total(stores: Stores) -> None:
    for _ in range(3):
        await stores.submit()
    first, second = await claim(stores, TWO), await claim(stores, TWO)
    assert first
    assert second
    assert await claim(stores, TWO) is None
    assert await stores.finish(first, done())
    assert await claim(stores, TWO)
    assert await claim(stores, TWO) is None


async def test_no_more_of_an_owner_than_theirs(stores: Stores) -> None:
    for owner in ("ada", "ada", "bob"):
        await stores.submit(owner=owner)
    claimed = [await claim(stores, ONE_EACH) for _ in range(3)]
    assert [job.owner if job else None for job in claimed] == ["ada", "bob", None]


async def test_both_limits_together(stores: Stores) -> None:
    limits = {QUEUE: Limits(total=3, per_owner=2)}
    for owner in ("ada", "ada", "ada", "bob", "cyd"):
        await stores.submit(owner=owner)
    claimed = [await claim(stores, limits) for _ in range(4)]
    assert [job.owner if job else None for job in claimed] == ["ada", "ada", "bob", None]


@pytest.mark.parametrize("ending", ["done", "retried", "handed back", "lost", "cancelled by its holder"])
async def test_every_way_out_of_a_held_state_frees_the_place(stores: Stores, ending: str) -> None:
    job = await stores.submit()
    one = {QUEUE: Limits(total=1, per_owner=1)}
    held = await claim(stores, one, lease=ALREADY_OVER if ending == "lost" else LEASE)
    assert held
    await stores.submit()
    assert await claim(stores, one) is None
    match ending:
        case "done":
            assert await stores.finish(held, done())
        case "retried":
            assert await stores.finish(held, failed(retry_after=timedelta(hours=1)))
        case "handed back":
            assert await stores.finish(held, failed(hands_back=True))
        case "lost":
            (lost,) = await stores.upkeep.lost_leases()
            assert await stores.upkeep.take_back(lost, timedelta.max)
        case _:
            await stores.jobs.cancel(job.id, "ada")
            assert await stores.finish(held, failed(retry_after=timedelta(0)))
    assert "slots" not in await stores.stored(job)
    assert await claim(stores, one)


async def test_a_job_that_ends_in_its_claim_takes_no_place(stores: Stores) -> None:
    wished = await stores.submit()
    await stores.submit()
    await stores.collection.update_one({"_id": wished.id}, {"$set": {"cancel_requested": True}})
    one = {QUEUE: Limits(total=1)}
    ended, next_one = await claim(stores, one), await claim(stores, one)
    assert ended
    assert ended.state is State.CANCELLED
    assert next_one
    assert next_one.state is State.RUNNING


async def test_limits_of_one_queue_leave_the_others_alone_and_keep_the_order(stores: Stores) -> None:
    for queue, priority in ((QUEUE, 5), (QUEUE, 4), ("free", 3), ("free", 6)):
        await stores.submit(queue=queue, priority=priority)
    one = {QUEUE: Limits(total=1)}
    claimed = [await claim(stores, one, QUEUE, "free") for _ in range(4)]
    assert [(job.queue, job.priority) if job else None for job in claimed] == [
        ("free", 6), (QUEUE, 5), ("free", 3), None,
    ]  # fmt: skip


async def test_names_that_look_like_places_do_not_meet(stores: Stores) -> None:
    limits = {name: Limits(total=1, per_owner=1) for name in ("a", "a b", "a ")}
    for queue, owner in (("a", "b"), ("a b", "0"), ("a ", "b 0")):
        await stores.submit(queue=queue, owner=owner)
    assert all([await claim(stores, limits, *limits) for _ in range(3)])


async def test_lowering_a_limit_lets_held_jobs_end(stores: Stores) -> None:
    for _ in range(4):
        await stores.submit()
    held = [await claim(stores, {QUEUE: Limits(total=3)}) for _ in range(3)]
    one = {QUEUE: Limits(total=1)}
    for job in held:
        assert job
        assert await claim(stores, one) is None
        await stores.finish(job, done())
    assert await claim(stores, one)


async def test_eight_claimers_never_hold_more_and_lose_no_job(stores: Stores) -> None:
    owners = ("ada", "bob", "cyd")
    submitted = [await stores.submit(owner=random.choice(owners)) for _ in range(90)]
    limits = {QUEUE: Limits(total=4, per_owner=2)}
    taken: Counter[str] = Counter()
    held: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def work() -> None:
        while taken.total() < len(submitted):
            job = await claim(stores, limits)
            if job is None:
                await asyncio.sleep(0.002)
                continue
            taken[job.id] += 1
            held.update(("all", job.owner))
            most.update({name: max(0, count - most[name]) for name, count in held.items()})
            await asyncio.sleep(0.001)
            held.subtract(("all", job.owner))
            await stores.finish(job, done())

    await asyncio.gather(*(work() for _ in range(8)))
    assert taken == Counter(job.id for job in submitted)
    assert most["all"] <= 4
    assert max(most[owner] for owner in owners) <= 2
    assert await stores.collection.count_documents({"slots": {"$exists": True}}) == 0


async def test_a_backlog_of_an_owner_at_their_limit_does_not_slow_the_claim_of_another(stores: Stores) -> None:
    """Not a measurement (bench has it): the server says how many keys and documents it looked at."""
    now = await stores.database.now()
    backlog = [new_document(new_job(owner="ada", priority=1), now) for _ in range(5_000)]
    await stores.collection.insert_many(backlog)
    limits = {QUEUE: Limits(per_owner=1)}
    first = await claim(stores, limits)
    assert first
    assert first.owner == "ada"
    wanted = await stores.submit(owner="bob")

    await stores.database.raw.command({"profile": 2})
    second = await claim(stores, limits)
    await stores.database.raw.command({"profile": 0})

    assert second
    assert second.id == wanted.id
    looks = await stores.database.raw["system.profile"].find({"ns": {"$regex": r"\.jobs$"}}).to_list(None)
    assert len(looks) >= 4
    assert max(look.get("docsExamined", 0) for look in looks) <= 3
    assert max(look.get("keysExamined", 0) for look in looks) <= 10


async def test_what_descends_from_a_job_is_claimed_alone_where_asked(stores: Stores) -> None:
    await stores.submit(priority=9)
    parent = await stores.submit()
    child = await stores.submit(parent=parent.id, ancestors=(parent.id,))
    for limits in ({}, TWO):
        claimed = await stores.claims.claim([QUEUE], WORKER, LEASE, limits=limits, below=[parent.id])
        assert claimed
        assert claimed.id == child.id
        assert await stores.claims.claim([QUEUE], WORKER, LEASE, limits=limits, below=[parent.id]) is None
        await stores.finish(claimed, failed(retry_after=timedelta(0)))
