"""Every statement over jobs finds what it seeks by an index, as the server's own profiler sees it, among many jobs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph.identity.identity import Scope
from heliograph.ids import new_id
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentClaims, AgentStore, SetStore, TreeStore
from heliograph.jobs.store.documents import new_document
from heliograph.jobs.store.followers import Released
from heliograph.jobs.store.listing import Criteria
from tests.parts.jobs import QUEUE, WORKER, Stores, done, new_job

OTHERS = 300
HOUR = timedelta(hours=1)


@pytest.fixture
async def crowd(stores: Stores) -> Stores:
    """The stores, with jobs that no statement of these tests is after: over, told, nobody's."""
    documents = []
    for number in range(OTHERS):
        document = new_document(new_job(owner=f"other-{number}"), datetime(2026, 1, 1, tzinfo=UTC))
        documents.append(document | {"state": State.DONE.value, "outbox": [], "notices_due": []})
    await stores.collection.insert_many(documents)
    return stores


async def claim(stores: Stores) -> None:
    assert await stores.claims.claim([QUEUE, "another"], WORKER)


async def finish(stores: Stores) -> None:
    assert await stores.finish(await stores.claim(), done())


async def renew(stores: Stores) -> None:
    job = await stores.claim()
    assert job.lease
    assert await stores.claims.renew({job.id: job.lease.token})


async def claim_several(stores: Stores) -> None:
    await stores.submit()
    words = {"a claim:000": "token 0", "a claim:001": "token 1"}
    take = await AgentClaims(stores.database).take(QUEUE, WORKER, None, words, is_last=False)
    assert len(take.jobs) == 2
    assert len(await AgentStore(stores.database).claimed_under("a claim")) == 2
    assert len(await AgentStore(stores.database).give_back("a claim", words.values(), "api")) == 2


async def make_due(stores: Stores) -> None:
    job = await stores.submit(not_before=datetime.now(UTC) + HOUR)
    await stores.collection.update_one({"_id": job.id}, {"$set": {"not_before": datetime.now(UTC)}})
    assert await stores.upkeep.make_due()


async def expire_unstarted(stores: Stores) -> None:
    await stores.submit(start_before=datetime.now(UTC) - HOUR)
    assert await stores.upkeep.expire_unstarted()


async def take_back(stores: Stores) -> None:
    await stores.claim(timedelta(milliseconds=-1))
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, HOUR)


async def end_overrun(stores: Stores) -> None:
    for _ in range(2):  # the time of one of them is not over
        await stores.submit(timeout_seconds=3600, priority=1)
        job = await stores.claims.claim([QUEUE], WORKER, None, into=State.CLAIMED)
        assert job
    assert job
    await stores.collection.update_one({"_id": job.id}, {"$set": {"lease.deadline": datetime.now(UTC) - HOUR}})
    [overrun] = await stores.upkeep.overruns()
    assert await stores.upkeep.end_overrun(overrun, HOUR)


async def expired(stores: Stores) -> None:
    await stores.submit(retention_seconds=1, priority=9)
    job = await stores.claim()
    await stores.finish(job, done())
    past = {"outbox": [], "notices_due": [], "expires_at": datetime.now(UTC) - HOUR}
    await stores.collection.update_one({"_id": job.id}, {"$set": past})
    assert [one async for one in stores.upkeep.expired()]
    await stores.upkeep.remove(job.id)


async def sweep_outbox(stores: Stores) -> None:
    await stores.collection.update_many(
        {"outbox.0": {"$exists": True}, "owner": "ada"}, {"$set": {"outbox.0.at": datetime.now(UTC) - HOUR}}
    )
    [stale] = await stores.outbox.stale()
    [outgoing] = await stores.outbox.read([stale])
    await stores.outbox.pull({stale: [outgoing.events[0][0]]})
    assert await stores.outbox.read([stale]) == []


async def known_request(stores: Stores) -> None:
    for _ in range(2):
        await stores.jobs.insert(new_job(idempotency=("key", "digest")))


async def mine(stores: Stores) -> None:
    assert len((await stores.listing.page(Criteria(owner="ada"), limit=9)).jobs) == 1


async def group(stores: Stores) -> None:
    await stores.submit(group="g1")
    assert len((await stores.listing.page(Criteria(group="g1"), limit=9)).jobs) == 1


async def updated(stores: Stores) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    assert len((await stores.listing.page(Criteria(updated_after=since), limit=9)).jobs) == 1


async def unlisted(stores: Stores) -> None:
    await stores.submit(inputs=("upload-1",))
    assert await stores.upkeep.unlisted_inputs(["upload-1", "upload-2"]) == ["upload-2"]
    assert await stores.upkeep.unlisted_artifacts([("file-1", "gone")]) == ["file-1"]


async def children(stores: Stores) -> None:
    root = await stores.submit()
    child = await stores.submit(parent=root.id, ancestors=(root.id,))
    for criteria in (Criteria(parent=root.id), Criteria(ancestor=root.id)):
        assert [job.id for job in (await stores.listing.page(criteria, limit=9)).jobs] == [child.id]
    trees = TreeStore(stores.database)
    assert await trees.to_cancel(root.id) == [child.id]
    assert (await trees.relatives([root.id])).keys() == {root.id}
    assert (await trees.states(root.id, [child.id])).keys() == {child.id}
    assert await trees.outcome(root.id, child.id)


async def counted(stores: Stores) -> None:
    root = await stores.submit(group="g1")
    await stores.submit(group="g1", ancestors=(root.id,))
    sets = SetStore(stores.database)
    assert (await sets.descendants(root.id)).total == 1
    assert (await sets.group("g1", Scope(owner="ada"))).tally.total == 2
    hour_ago = datetime.now(UTC) - HOUR
    assert (await sets.since("ada", "g1", hour_ago)).tally.total == 2


async def release(stores: Stores) -> None:
    gone = new_id()
    await stores.submit(after=(gone,))
    assert (await stores.followers.sweep()).ended
    assert await stores.followers.release([gone]) == Released()


STATEMENTS = [
    claim, claim_several, finish, renew, make_due, expire_unstarted, take_back, end_overrun, expired, sweep_outbox,
    known_request, mine, group, updated, unlisted, children, counted, release,
]  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.__name__)
async def test_by_an_index(crowd: Stores, statement: Callable[[Stores], Awaitable[None]]) -> None:
    await crowd.submit()
    database: Any = crowd.database.raw
    await database.command("profile", 2)
    await statement(crowd)
    await database.command("profile", 0)
    seen = await database["system.profile"].find({"ns": f"{database.name}.jobs", "op": {"$ne": "insert"}}).to_list(100)
    assert seen
    for one in seen:
        assert "COLLSCAN" not in one["planSummary"], one
        assert one["planSummary"].startswith(("IXSCAN", "IDHACK", "COUNT_SCAN")), one
        assert one.get("docsExamined", 0) <= 2, one
        assert one.get("keysExamined", 0) <= 10, one
        assert not one.get("hasSortStage"), one
