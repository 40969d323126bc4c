"""The relay carries every event to the bus at least once, in order, through failures of either side."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph.bus.memory import MemoryBus
from heliograph.events.model import JobEvent
from heliograph.jobs import relay as relay_module
from heliograph.jobs.model import Job
from heliograph.jobs.relay import Relay
from heliograph.storage import StoreUnavailableError
from tests.parts.jobs import QUEUE, Stores, done
from tests.parts.waiting import until

WITHIN_SECONDS = 20.0


@dataclass
class Listener:
    """A notifier and a feed, as the bus sees them."""

    shown: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    told: list[tuple[str, int]] = field(default_factory=list)
    refused: set[tuple[str, int]] = field(default_factory=set)  # what the notifier does not take for now
    refusals: int = 0

    async def show(self, event: JobEvent) -> None:
        self.shown[event.data.id].append(event.data.seq)

    async def take(self, event: JobEvent) -> None:
        what = (event.data.id, event.data.seq)
        if what in self.refused:
            self.refusals += 1
            raise RuntimeError("the notifier has no database for now")
        self.told.append(what)

    async def listen(self, bus: MemoryBus) -> None:
        await bus.subscribe_feed(self.show)
        await bus.subscribe_told(self.take)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "PAUSE_SECONDS", 0.02)


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus() as started:
        yield started


@pytest.fixture
async def listener(bus: MemoryBus) -> Listener:
    listener = Listener()
    await listener.listen(bus)
    return listener


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def finished(stores: Stores) -> Job:
    await stores.submit()
    job = await stores.claim()
    assert await stores.finish(job, done())
    return job


async def is_empty(stores: Stores) -> bool:
    return await stores.collection.count_documents({"outbox.0": {"$exists": True}}) == 0


async def until_empty(stores: Stores) -> None:
    await until(lambda: is_empty(stores))


async def test_events_go_out_once_in_order_and_leave_the_outbox(
    stores: Stores, bus: MemoryBus, listener: Listener
) -> None:
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        for _ in range(30):
            relay.nudge((await finished(stores)).id)
        await until_empty(stores)
        await until(lambda: len(listener.shown) == 30)
    assert set(map(tuple, listener.shown.values())) == {(1, 2, 3)}
    assert sorted({seq for _, seq in listener.told}) == [1, 3]
    assert set(Counter(listener.told).values()) == {1}
    assert relay.backlog == 0


async def test_an_event_says_what_happened_and_no_secret(stores: Stores, bus: MemoryBus) -> None:
    events: list[JobEvent] = []

    async def keep(event: JobEvent) -> None:
        events.append(event)

    await bus.subscribe_told(keep)
    relay = Relay(stores.outbox, stores.followers, bus)
    job = await stores.submit(name="night 12", group="g1", parameters={"secret": "hidden"}, traceparent="00-1-2-01")
    relay.nudge(job.id)
    await relay.drain(WITHIN_SECONDS)
    [event] = events
    assert (event.id, event.type, event.subject) == (f"{job.id}:1", "org.heliograph.job.queued", job.id)
    assert (event.time, event.traceparent) == (job.created_at, "00-1-2-01")
    assert (event.data.name, event.data.group, event.data.owner, event.data.by) == ("night 12", "g1", "ada", "ada")
    assert event.data.told
    assert b"hidden" not in event.to_json()


async def test_the_first_that_fails_stops_its_job_and_no_other(
    stores: Stores, bus: MemoryBus, listener: Listener
) -> None:
    stuck = await finished(stores)
    listener.refused = {(stuck.id, 1)}
    other = await finished(stores)
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(stuck.id)
        relay.nudge(other.id)
        await until(lambda: (other.id, 3) in listener.told and listener.refusals > 1)
        assert 2 not in listener.shown[stuck.id]
        assert [entry["seq"] for entry in (await stores.stored(stuck))["outbox"]] == [1, 2, 3]
        listener.refused.clear()
        await until_empty(stores)
    assert [seq for job, seq in listener.told if job == stuck.id] == [1, 3]
    await until(lambda: listener.shown[stuck.id] == [1, 2, 3])


async def test_what_went_out_before_the_failure_does_not_go_out_again(
    stores: Stores, bus: MemoryBus, listener: Listener
) -> None:
    job = await finished(stores)
    listener.refused = {(job.id, 3)}
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(job.id)
        await until(lambda: listener.refusals > 1)
        listener.refused.clear()
        await until_empty(stores)
    assert listener.told == [(job.id, 1), (job.id, 3)]
    await until(lambda: listener.shown[job.id] == [1, 2, 3])


async def test_nothing_is_lost_while_the_bus_is_away(stores: Stores) -> None:
    bus, listener = MemoryBus(), Listener()
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        jobs = [await finished(stores) for _ in range(5)]
        for job in jobs:
            relay.nudge(job.id)
        assert relay.backlog == 5
        await bus.start()
        await listener.listen(bus)
        await until_empty(stores)
        await bus.close()
        more = [await finished(stores) for _ in range(5)]
        for job in more:
            relay.nudge(job.id)
        await bus.start()
        await listener.listen(bus)
        await until_empty(stores)
        await bus.close()
    assert {job for job, _ in listener.told} == {job.id for job in jobs + more}
    assert set(Counter(listener.told).values()) == {1}


async def test_what_nobody_takes_yet_waits(stores: Stores, bus: MemoryBus) -> None:
    job = await finished(stores)
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(job.id)
        await until(lambda: relay._failed != {})
        listener = Listener()
        await listener.listen(bus)
        await until_empty(stores)
    assert listener.told == [(job.id, 1), (job.id, 3)]


async def test_an_outage_of_the_database_repeats_events_and_loses_none(
    stores: Stores, bus: MemoryBus, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await finished(stores)
    pull, tries = stores.outbox.pull, 0

    async def away_at_first(changes: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreUnavailableError
        await pull(changes)

    monkeypatch.setattr(stores.outbox, "pull", away_at_first)
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(job.id)
        await until_empty(stores)
    assert listener.told == [(job.id, 1), (job.id, 3)] * 2


async def test_an_event_that_cannot_be_told_stops_its_own_job_alone(
    stores: Stores, bus: MemoryBus, listener: Listener
) -> None:
    broken, other = await finished(stores), await finished(stores)
    await stores.collection.update_one({"_id": broken.id}, {"$set": {"outbox.0.seq": "no number"}})
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(broken.id)
        relay.nudge(other.id)
        await until(lambda: (other.id, 3) in listener.told)
    assert len((await stores.stored(broken))["outbox"]) == 3


async def test_a_defect_of_the_bus_does_not_end_the_relay(
    stores: Stores, bus: MemoryBus, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = await finished(stores), await finished(stores)
    publish = bus.publish

    async def defective(event: JobEvent) -> None:
        if event.data.id == broken.id:
            raise TypeError("a defect")
        await publish(event)

    monkeypatch.setattr(bus, "publish", defective)
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        relay.nudge(broken.id)
        relay.nudge(other.id)
        await until(lambda: (other.id, 3) in listener.told)
        monkeypatch.setattr(bus, "publish", publish)
        await until_empty(stores)


async def test_the_sweep_takes_what_another_process_left_and_nothing_young(
    stores: Stores, bus: MemoryBus, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "SWEEP_SECONDS", 0.05)
    old, young = await finished(stores), await finished(stores)
    for job, age in ((old, timedelta(seconds=6)), (young, timedelta(hours=-1))):  # young, however long this takes
        await stores.collection.update_one({"_id": job.id}, {"$set": {"outbox.0.at": datetime.now(UTC) - age}})
    async with running(Relay(stores.outbox, stores.followers, bus)):
        await until(lambda: (old.id, 3) in listener.told)
        assert {job for job, _ in listener.told} == {old.id}
        await stores.collection.update_one(
            {"_id": young.id}, {"$set": {"outbox.0.at": datetime.now(UTC) - timedelta(seconds=6)}}
        )
        await until_empty(stores)


async def test_a_long_absence_is_made_up_for_without_waiting_for_the_next_sweep(
    stores: Stores, bus: MemoryBus, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph.jobs.store.outbox.SWEEP_BATCH", 2)
    monkeypatch.setattr(relay_module, "SWEEP_BATCH", 2)
    jobs = [await stores.submit() for _ in range(7)]
    await stores.collection.update_many({}, {"$set": {"outbox.0.at": datetime.now(UTC) - timedelta(seconds=6)}})
    monkeypatch.setattr(relay_module, "SWEEP_SECONDS", 0)
    async with running(Relay(stores.outbox, stores.followers, bus)):
        await until(lambda: bool(listener.told))
        monkeypatch.setattr(relay_module, "SWEEP_SECONDS", 3600)
        await until_empty(stores)
    assert {job for job, _ in listener.told} == {job.id for job in jobs}


async def test_two_relays_never_show_a_later_event_first(stores: Stores, bus: MemoryBus, listener: Listener) -> None:
    api, worker = Relay(stores.outbox, stores.followers, bus), Relay(stores.outbox, stores.followers, bus)
    async with running(api), running(worker):
        for _ in range(30):
            job = await stores.submit()
            api.nudge(job.id)
            claimed = await stores.claim()
            worker.nudge(job.id)
            await stores.finish(claimed, done())
            worker.nudge(job.id)
        await until_empty(stores)
        await until(lambda: all(set(seqs) == {1, 2, 3} for seqs in listener.shown.values()))
    for seqs in listener.shown.values():
        firsts = list(dict.fromkeys(seqs))
        assert firsts == [1, 2, 3]


async def test_idle_workers_get_a_hint_of_what_waits_once_its_event_is_out(
    stores: Stores, bus: MemoryBus, listener: Listener
) -> None:
    hints: list[str] = []
    await bus.subscribe_hints([QUEUE, "later"], hints.append)
    relay = Relay(stores.outbox, stores.followers, bus)
    await finished(stores)
    for job in (
        await stores.submit(), await stores.submit(),
        await stores.submit(queue="later", not_before=datetime.now(UTC) + timedelta(hours=1)),
    ):  # fmt: skip
        relay.nudge(job.id)
    await relay.drain(WITHIN_SECONDS)
    assert hints == [QUEUE]


async def test_a_clean_end_sends_what_was_nudged(stores: Stores, bus: MemoryBus, listener: Listener) -> None:
    relay = Relay(stores.outbox, stores.followers, bus)
    async with running(relay):
        pass
    jobs = [await finished(stores) for _ in range(3)]
    for job in jobs:
        relay.nudge(job.id)
    await relay.drain(WITHIN_SECONDS)
    assert {job for job, _ in listener.told} == {job.id for job in jobs}
    assert await is_empty(stores)


async def test_a_clean_end_tries_again_what_failed(stores: Stores, bus: MemoryBus, listener: Listener) -> None:
    job = await finished(stores)
    listener.refused = {(job.id, 1)}
    relay = Relay(stores.outbox, stores.followers, bus)
    relay.nudge(job.id)
    draining = asyncio.create_task(relay.drain(WITHIN_SECONDS))
    await until(lambda: listener.refusals > 0)
    listener.refused.clear()
    await draining
    assert await is_empty(stores)


@pytest.mark.parametrize("is_up", [False, True], ids=["the bus is away", "nobody takes it"])
async def test_a_clean_end_gives_up_in_time(stores: Stores, is_up: bool) -> None:
    bus = MemoryBus()
    if is_up:
        await bus.start()
    relay = Relay(stores.outbox, stores.followers, bus)
    relay.nudge((await finished(stores)).id)
    async with asyncio.timeout(WITHIN_SECONDS):
        await relay.drain(0.1)
    assert not await is_empty(stores)
