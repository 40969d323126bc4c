"""The reconciler does what time asks for, whichever process it runs in, and not before its time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from heliograph.bus.memory import MemoryBus
from heliograph.errors import NotFoundError
from heliograph.jobs import reconciler as module
from heliograph.jobs.model import Artifact, Job
from heliograph.jobs.reconciler import Reconciler
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store import upkeep
from heliograph.locks import Locks
from heliograph.storage import Document, Files, StoredFile, StoreUnavailableError
from tests.parts.jobs import ALREADY_OVER, QUEUE, WORKER, Stores, done
from tests.parts.waiting import until

HOUR = timedelta(hours=1)


class Site:
    """A reconciler of one process, and what it works with."""

    def __init__(self, stores: Stores, name: str) -> None:
        self.stores = stores
        self.relay = Relay(stores.outbox, stores.followers, MemoryBus())
        self.artifacts = Files(stores.database, "artifacts")
        self.uploads = Files(stores.database, "uploads")
        self.reconciler = Reconciler(
            stores.database,
            stores.upkeep,
            stores.followers,
            self.relay,
            Locks(stores.database, name),
            self.artifacts,
            self.uploads,
            serves_agents=name.startswith("api"),
        )


@pytest.fixture
async def site(stores: Stores) -> Site:
    await stores.database.wait_connected()
    return Site(stores, "api-1")


async def a_file(bucket: Files, job: str | None = None, age: timedelta = timedelta(0)) -> StoredFile:
    async def content() -> AsyncIterator[bytes]:
        yield b"content"

    stored = await bucket.put(content(), name="plot.png", media_type="image/png", job=job)
    await bucket._files.update_one(
        {"_id": ObjectId(stored.id)}, {"$set": {"uploadDate": datetime.now(UTC) - age}}
    )  # fmt: skip
    return stored


async def is_there(bucket: Files, file: StoredFile) -> bool:
    try:
        await bucket.find(file.id)
    except NotFoundError:
        return False
    return True


async def test_it_lets_run_what_is_due_and_ends_what_is_too_late(site: Site) -> None:
    stores = site.stores
    due = await stores.submit(not_before=datetime.now(UTC) + HOUR)
    await stores.collection.update_one({"_id": due.id}, {"$set": {"not_before": datetime.now(UTC)}})
    late = await stores.submit(start_before=datetime.now(UTC) - HOUR)
    await site.reconciler.reconcile()
    assert (await stores.claim()).id == due.id
    assert (await stores.jobs.get(late.id)).state is State.CANCELLED
    assert site.relay.backlog == 1


async def test_it_takes_back_what_was_lost(site: Site) -> None:
    job = await site.stores.submit()
    await site.stores.claim(ALREADY_OVER)
    await site.reconciler.reconcile()
    assert (await site.stores.jobs.get(job.id)).state is State.QUEUED
    assert site.relay.backlog == 1


async def test_it_takes_nothing_back_before_it_was_connected_for_a_lease_s_length(site: Site) -> None:
    job = await site.stores.submit()
    await site.stores.claim(timedelta(hours=1))
    await site.stores.collection.update_one({"_id": job.id}, {"$set": {"lease.until": datetime.now(UTC) - HOUR}})
    await site.reconciler.reconcile()
    assert (await site.stores.jobs.get(job.id)).state is State.RUNNING


async def test_a_jump_of_the_clock_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine slept: leases are over by the clock, and nobody had the time to renew."""
    database = site.stores.database
    await until(lambda: database.connected_for > timedelta(milliseconds=1))
    job = await site.stores.submit()
    await site.stores.claim(timedelta(milliseconds=1))
    hello = database._hello

    async def jumped() -> Document:
        answer = await hello()
        return answer | {"localTime": answer["localTime"] + HOUR}

    monkeypatch.setattr(database, "_hello", jumped)
    await until(site.stores.upkeep.lost_leases)
    await site.reconciler.reconcile()
    assert (await site.stores.jobs.get(job.id)).state is State.RUNNING


async def overrun(stores: Stores) -> Job:
    """Let an agent hold a job, without a lease, for an hour longer than it may."""
    await stores.submit(timeout_seconds=60)
    job = await stores.claims.claim([QUEUE], WORKER, None, into=State.CLAIMED)
    assert job is not None
    await stores.collection.update_one({"_id": job.id}, {"$set": {"lease.deadline": datetime.now(UTC) - HOUR}})
    return job


async def test_it_ends_what_an_agent_holds_for_too_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await overrun(site.stores)
    await site.reconciler.end_overruns()
    assert (await site.stores.jobs.get(job.id)).state is State.CLAIMED, "connected for less than half a minute"
    monkeypatch.setattr(upkeep, "GRACE_WITHOUT_LEASE", timedelta(milliseconds=1))
    await until(lambda: site.stores.database.connected_for > timedelta(milliseconds=1))
    await site.reconciler.end_overruns()
    assert (await site.stores.jobs.get(job.id)).state is State.FAILED
    assert site.relay.backlog == 1


async def test_one_job_that_cannot_be_changed_keeps_no_other_from_being_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "GRACE_WITHOUT_LEASE", timedelta(milliseconds=1))
    await until(lambda: site.stores.database.connected_for > timedelta(milliseconds=1))
    overdue = [await overrun(site.stores) for _ in range(3)]
    lost = [await site.stores.submit() for _ in range(3)]
    for _ in lost:
        await site.stores.claim(ALREADY_OVER)
    for broken in (overdue[0], lost[0]):
        await site.stores.collection.update_one({"_id": broken.id}, {"$set": {"history": "none"}})
    await site.reconciler.end_overruns()
    await site.reconciler.reconcile()
    for job, state in (
        (overdue[1], State.FAILED),
        (overdue[2], State.FAILED),
        *((job, State.QUEUED) for job in lost[1:]),
    ):
        assert (await site.stores.jobs.get(job.id)).state is state


async def test_what_an_agent_finished_while_the_database_was_away_it_may_report(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = site.stores.database
    monkeypatch.setattr(upkeep, "GRACE_WITHOUT_LEASE", timedelta(milliseconds=1))
    await until(lambda: database.connected_for > timedelta(milliseconds=1))
    job = await overrun(site.stores)
    confirm = database.confirm_connected

    async def away_for_a_moment() -> timedelta:
        database._note_away("a test")
        return await confirm()

    monkeypatch.setattr(database, "confirm_connected", away_for_a_moment)
    await site.reconciler.end_overruns()
    assert await site.stores.finish(job, done())


async def test_an_api_alone_judges_agents(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is none they cannot report."""
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    worker = Site(site.stores, "worker-1")
    judged: list[str] = []
    rounds: list[str] = []
    for one, name in ((worker, "worker"), (site, "api")):

        async def judge(name: str = name) -> None:
            judged.append(name)

        async def reconcile(name: str = name) -> None:
            rounds.append(name)

        monkeypatch.setattr(one.reconciler, "end_overruns", judge)
        monkeypatch.setattr(one.reconciler, "reconcile", reconcile)
    task = asyncio.create_task(worker.reconciler.run())
    await until(lambda: len(rounds) >= 3)
    assert judged == []
    other = asyncio.create_task(site.reconciler.run())
    await until(lambda: len(judged) >= 2)  # although the worker has the other lock
    for each in (task, other):
        each.cancel()
    await asyncio.wait({task, other})
    assert set(judged) == {"api"}


async def test_it_removes_what_is_no_longer_kept_with_its_files_and_log(site: Site) -> None:
    stores = site.stores
    await stores.submit(retention_seconds=1)
    job = await stores.claim()
    file, other = await a_file(site.artifacts, job.id), await a_file(site.artifacts)
    listed = Artifact("plot.png", file.id, file.media_type, file.bytes, file.sha256)
    await stores.logs.append(job.id, 1, 1, "token", 0, b"text")
    await stores.finish(job, done(artifacts=(listed,)))
    await stores.collection.update_one({"_id": job.id}, {"$set": {"expires_at": datetime.now(UTC) - HOUR}})
    await site.reconciler.reconcile()
    assert await stores.stored(job)  # its events are not out yet
    await stores.collection.update_one({"_id": job.id}, {"$set": {"outbox": [], "notices_due": []}})
    await site.reconciler.reconcile()
    with pytest.raises(NotFoundError):
        await stores.jobs.get(job.id)
    assert not await is_there(site.artifacts, file)
    assert await is_there(site.artifacts, other)
    assert [chunk async for chunk in stores.logs.read(job.id, 1, 1)] == []


async def test_it_sweeps_old_files_that_nobody_lists(site: Site) -> None:
    stores, two_days = site.stores, timedelta(days=2)
    used = await a_file(site.uploads, age=two_days)
    await stores.submit(inputs=(used.id,))
    job = await stores.claim()
    listed, unlisted = await a_file(site.artifacts, job.id, two_days), await a_file(site.artifacts, job.id, two_days)
    artifact = Artifact("plot.png", listed.id, listed.media_type, listed.bytes, listed.sha256)
    unused, young = await a_file(site.uploads, age=two_days), await a_file(site.uploads)
    await site.reconciler.sweep_files()
    assert await is_there(site.artifacts, listed), "the job may list it when it ends"
    await stores.finish(job, done(artifacts=(artifact,)))
    await site.reconciler.sweep_files()
    assert [await is_there(site.artifacts, file) for file in (listed, unlisted)] == [True, False]
    assert [await is_there(site.uploads, file) for file in (used, unused, young)] == [True, False, True]


async def test_it_sweeps_what_a_killed_process_left_of_an_upload(site: Site) -> None:
    old, young = ObjectId.from_datetime(datetime.now(UTC) - timedelta(days=2)), ObjectId()
    chunks = site.uploads._chunks
    await chunks.insert_many([{"files_id": file, "n": n, "data": b"x"} for file in (old, young) for n in range(3)])
    kept = await a_file(site.uploads)
    await site.reconciler.sweep_files()
    assert set(await chunks.distinct("files_id")) == {young, ObjectId(kept.id)}


async def test_of_several_one_acts_and_another_follows_it(
    site: Site, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    sites = [site, Site(stores, "worker-1")]
    acted: list[int] = []
    for number, one in enumerate(sites):

        async def note(number: int = number) -> None:
            acted.append(number)

        monkeypatch.setattr(one.reconciler, "reconcile", note)
    tasks = [asyncio.create_task(one.reconciler.run()) for one in sites]
    await until(lambda: len(acted) >= 5)
    assert len(set(acted)) == 1
    first = acted[0]
    tasks[first].cancel()
    await asyncio.wait({tasks[first]})
    # Its lock would be over after a while.
    await stores.database.collection("locks").update_many({}, {"$set": {"until": datetime.now(UTC) - HOUR}})
    await until(lambda: 1 - first in acted)
    tasks[1 - first].cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_files_are_swept_once_in_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    rounds: list[str] = []

    def noting(what: str) -> Any:
        async def note() -> None:
            rounds.append(what)

        return note

    monkeypatch.setattr(site.reconciler, "reconcile", noting("reconcile"))
    monkeypatch.setattr(site.reconciler, "sweep_files", noting("sweep"))
    task = asyncio.create_task(site.reconciler.run())
    await until(lambda: rounds.count("reconcile") >= 5)
    task.cancel()
    await asyncio.wait({task})
    assert rounds.count("sweep") == 1


@pytest.mark.parametrize("error", [StoreUnavailableError(), KeyError("a defect")], ids=["outage", "defect"])
async def test_a_round_that_fails_does_not_end_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.02)
    rounds: list[int] = []

    async def fail() -> None:
        rounds.append(1)
        raise error

    monkeypatch.setattr(site.reconciler, "reconcile", fail)
    judged: list[int] = []

    async def judge() -> None:
        judged.append(1)
        raise error

    monkeypatch.setattr(site.reconciler, "end_overruns", judge)
    task = asyncio.create_task(site.reconciler.run())
    await until(lambda: len(rounds) >= 3 and len(judged) >= 3)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
