"""What every bus promises (the port's docstrings), on both implementations."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import structlog

from heliograph.bus import topology
from heliograph.bus.memory import MemoryBus
from heliograph.bus.port import BusUnavailableError, DeadEvent
from heliograph.bus.rabbitmq import CONFIRM_SECONDS, RabbitBus
from heliograph.events.model import JobEvent
from heliograph.jobs.states import State
from tests.contract.conftest import BusFactory, Heard, make_event, publish_until_taken


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the tracebacks of what is refused on purpose unrendered: each takes 0.1 s and more."""
    with structlog.testing.capture_logs():
        yield


async def test_a_told_event_reaches_the_durable_subscriber_as_it_was(bus_factory: BusFactory) -> None:
    bus, notifier = await bus_factory(), await bus_factory()
    arrived: asyncio.Queue[JobEvent] = asyncio.Queue()
    await notifier.subscribe_told(arrived.put)
    event = make_event(queue="site one: dome.2")
    await bus.publish(event)
    async with asyncio.timeout(60):
        assert await arrived.get() == event


async def test_a_plain_event_does_not_reach_the_durable_subscriber(bus_factory: BusFactory) -> None:
    bus, heard = await bus_factory(), Heard()
    await bus.subscribe_told(heard.event)
    plain, told = make_event(told=False), make_event(told=True)
    await bus.publish(plain)
    await bus.publish(told)
    assert await heard.once(1) == [told.id]


async def test_a_told_event_waits_for_its_subscriber(bus_factory: BusFactory, kind: str) -> None:
    bus, heard, event = await bus_factory(), Heard(), make_event()
    if kind == "memory":  # nothing keeps it there but the outbox
        with pytest.raises(BusUnavailableError):
            await bus.publish(event)
    else:
        await bus.publish(event)
    await bus.subscribe_told(heard.event)
    if kind == "memory":
        await publish_until_taken(bus, event)
    assert await heard.once(1) == [event.id]


async def test_an_event_comes_again_when_its_handler_raises(bus_factory: BusFactory) -> None:
    bus, heard, event = await bus_factory(), Heard(), make_event()
    heard.fail(2)
    await bus.subscribe_told(heard.event)
    await publish_until_taken(bus, event)
    assert await heard.once(3) == [event.id] * 3


async def test_a_feed_sees_an_event_once_however_often_it_is_tried(bus_factory: BusFactory) -> None:
    bus, told, feed, event, last = await bus_factory(), Heard(), Heard(), make_event(), make_event()
    told.fail(2)
    await bus.subscribe_told(told.event)
    await bus.subscribe_feed(feed.event)
    await publish_until_taken(bus, event)
    await told.once(3)
    await publish_until_taken(bus, last)
    assert await feed.once(2) == [event.id, last.id]


async def refuse(event: JobEvent) -> None:
    """Take nothing, as a notifier with a defect."""
    raise ValueError("on purpose")


async def test_an_event_that_nobody_can_take_is_laid_aside_and_holds_up_no_other(bus_factory: BusFactory) -> None:
    bus, heard, poison, good = await bus_factory(), Heard(), make_event(), make_event()
    dead: asyncio.Queue[DeadEvent] = asyncio.Queue()

    async def handler(event: JobEvent) -> None:
        await heard.event(event)
        if event.id == poison.id:
            raise ValueError("on purpose")

    await bus.subscribe_dead(dead.put)
    await bus.subscribe_told(handler)
    await publish_until_taken(bus, poison)
    await publish_until_taken(bus, good)
    tries = Counter(await heard.once(topology.DELIVERY_LIMIT + 1))
    async with asyncio.timeout(30):
        laid_aside = await dead.get()
    assert laid_aside.event == poison
    assert laid_aside.reason
    assert laid_aside.at
    assert abs(datetime.now(UTC) - laid_aside.at) < timedelta(minutes=1)
    assert dead.empty()
    assert tries == {poison.id: topology.DELIVERY_LIMIT, good.id: 1}
    assert len(heard.items) == topology.DELIVERY_LIMIT + 1


async def test_a_dead_letter_waits_until_somebody_takes_it_and_is_gone_then(bus_factory: BusFactory) -> None:
    bus, fails, takes, later = await bus_factory(), Heard(), Heard(), Heard()
    first, second = make_event(), make_event()
    await bus.subscribe_told(refuse)
    await publish_until_taken(bus, first)
    fails.fail(1000)
    subscription = await bus.subscribe_dead(fails.dead)
    assert await fails.once(2) == [first.id] * 2  # it comes again
    await subscription.close()
    subscription = await bus.subscribe_dead(takes.dead)
    assert await takes.once(1) == [first.id]
    await subscription.close()
    await bus.subscribe_dead(later.dead)
    await publish_until_taken(bus, second)
    assert await later.once(1) == [second.id]


async def test_those_who_take_dead_letters_share_them(bus_factory: BusFactory) -> None:
    bus, other, both_have_one = await bus_factory(), await bus_factory(), asyncio.Barrier(2)
    first, second, events = Heard(), Heard(), [make_event() for _ in range(4)]

    async def take(heard: Heard, dead: DeadEvent) -> None:
        await both_have_one.wait()
        await heard.dead(dead)

    await bus.subscribe_dead(partial(take, first), prefetch=1)
    await other.subscribe_dead(partial(take, second), prefetch=1)
    await bus.subscribe_told(refuse)
    await asyncio.gather(*(publish_until_taken(bus, event) for event in events))
    taken = await first.once(2) + await second.once(2)
    assert sorted(taken) == [event.id for event in events]


async def test_a_paused_subscription_takes_no_dead_letters(bus_factory: BusFactory) -> None:
    bus, paused, rest, first, second = await bus_factory(), Heard(), Heard(), make_event(), make_event()
    await bus.subscribe_told(refuse)
    subscription = await bus.subscribe_dead(paused.dead)
    await subscription.pause()
    other = await bus.subscribe_dead(rest.dead)
    await publish_until_taken(bus, first)
    assert await rest.once(1) == [first.id]
    await other.close()
    await publish_until_taken(bus, second)
    await subscription.resume()
    assert await paused.once(1) == [second.id]


async def test_the_events_of_one_publisher_keep_their_order(bus_factory: BusFactory) -> None:
    bus, told, feed = await bus_factory(), Heard(), Heard()
    await bus.subscribe_told(told.event)
    await bus.subscribe_feed(feed.event)
    events = [make_event() for _ in range(200)]
    for event in events:
        await bus.publish(event)
    ids = [event.id for event in events]
    assert await told.once(len(ids)) == ids
    assert await feed.once(len(ids)) == ids


async def test_a_feed_gets_all_that_matches_and_nothing_else(bus_factory: BusFactory) -> None:
    bus, every, failed = await bus_factory(), Heard(), Heard()
    await bus.subscribe_feed(every.event)
    await bus.subscribe_feed(failed.event, binding="job.failed.periodogram.#")
    events = [
        make_event(state=state, told=False, queue=queue)
        for state in (State.RUNNING, State.FAILED)
        for queue in ("periodogram", "other")
    ]
    events.append(make_event(state=State.FAILED, told=False))
    for event in events:
        await bus.publish(event)
    assert await every.once(5) == [event.id for event in events]
    assert await failed.once(2) == [events[2].id, events[4].id]


async def test_two_feeds_get_everything_each(bus_factory: BusFactory) -> None:
    bus, other, first, second = await bus_factory(), await bus_factory(), Heard(), Heard()
    await bus.subscribe_feed(first.event)
    await other.subscribe_feed(second.event)
    events = [make_event(told=False) for _ in range(20)]
    await asyncio.gather(*(bus.publish(event) for event in events))
    assert sorted(await first.once(20)) == sorted(await second.once(20)) == sorted(event.id for event in events)


async def test_a_feed_goes_on_after_its_handler_raised(bus_factory: BusFactory) -> None:
    bus, heard = await bus_factory(), Heard()
    heard.fail(1)
    await bus.subscribe_feed(heard.event)
    events = [make_event(told=False) for _ in range(2)]
    for event in events:
        await bus.publish(event)
    assert await heard.once(2) == [event.id for event in events]


async def test_two_notifiers_share_the_told_events(bus_factory: BusFactory) -> None:
    bus, other, together = await bus_factory(), await bus_factory(), Heard()
    first, second = Heard(together), Heard(together)
    await bus.subscribe_told(first.event, prefetch=1)
    await other.subscribe_told(second.event, prefetch=1)
    events = [make_event() for _ in range(20)]
    for event in events:
        await bus.publish(event)
    assert sorted(await together.once(len(events))) == sorted(event.id for event in events)
    assert first.items
    assert second.items


async def test_a_hint_reaches_one_of_two_workers(bus_factory: BusFactory) -> None:
    api, worker, other, together = *[await bus_factory() for _ in range(3)], Heard()
    first, second = Heard(together), Heard(together)
    await worker.subscribe_hints(["periodogram", "stack"], first.value)
    await other.subscribe_hints(["periodogram"], second.value)
    await api.hint(["periodogram"] * 10)
    await api.hint(["stack", "unknown"])
    await together.once(11)
    assert Counter(first.items) == {"periodogram": 5, "stack": 1}
    assert Counter(second.items) == {"periodogram": 5}


async def test_a_paused_worker_leaves_its_hints_to_the_others(bus_factory: BusFactory) -> None:
    api, worker, other, first, second = *[await bus_factory() for _ in range(3)], Heard(), Heard()
    subscription = await worker.subscribe_hints(["periodogram"], first.value)
    await other.subscribe_hints(["periodogram"], second.value)
    for _ in range(2):
        await subscription.pause()
    await api.hint(["periodogram"] * 4)
    assert await second.once(4) == ["periodogram"] * 4
    assert first.items == []
    for _ in range(2):
        await subscription.resume()
    await api.hint(["periodogram"] * 4)
    assert await first.once(2) == ["periodogram"] * 2
    assert await second.once(6) == ["periodogram"] * 6


async def test_a_closed_subscription_hears_nothing_more(bus_factory: BusFactory) -> None:
    bus, closed, rest = await bus_factory(), Heard(), Heard()
    await (await bus.subscribe_feed(closed.event)).close()
    await (await bus.subscribe_hints(["periodogram"], closed.value)).close()
    await (await bus.subscribe_told(closed.event)).close()
    await bus.subscribe_feed(rest.event)
    await bus.subscribe_told(rest.event)
    await bus.publish(make_event())
    await bus.hint(["periodogram"])
    await rest.once(2)
    assert closed.items == []


async def test_a_wish_goes_to_the_worker_it_names(bus_factory: BusFactory) -> None:
    api, worker, other, first, second = *[await bus_factory() for _ in range(3)], Heard(), Heard()
    await worker.subscribe_wishes("worker@one", first.value)
    await other.subscribe_wishes("worker@two", second.value)
    await api.wish_cancel("worker@one", "job-1")
    await api.wish_cancel("worker@gone", "job-2")
    await api.wish_cancel("worker@two", "job-3")
    assert await first.once(1) == ["job-1"]
    assert await second.once(1) == ["job-3"]


async def test_a_handler_of_hints_that_raises_is_called_again(bus_factory: BusFactory) -> None:
    bus, heard = await bus_factory(), Heard()

    def handler(backend: str) -> None:
        heard.value(backend)
        raise ValueError("on purpose")

    await bus.subscribe_hints(["periodogram"], handler)
    await bus.hint(["periodogram"] * 2)
    assert await heard.once(2) == ["periodogram"] * 2


@pytest.mark.parametrize("bus", [MemoryBus, lambda: RabbitBus("amqp://127.0.0.1:1/", name="test")])
async def test_publishing_while_away_fails_at_once_and_a_hint_never_does(bus: type) -> None:
    async with asyncio.timeout(CONFIRM_SECONDS / 2):  # as long as anything would be waited for
        away = bus()
        assert not away.is_connected
        with pytest.raises(BusUnavailableError):
            await away.publish(make_event())
        await away.hint(["periodogram"])
        await away.wish_cancel("worker", "job")


async def test_a_closed_bus_takes_nothing(bus_factory: BusFactory) -> None:
    bus, heard = await bus_factory(), Heard()
    await bus.subscribe_feed(heard.event)
    await bus.close()
    assert not bus.is_connected
    with pytest.raises(BusUnavailableError):
        await bus.publish(make_event())
    assert heard.items == []


@pytest.mark.parametrize("end", ["bus", "subscription"])
async def test_closing_waits_for_the_running_handler(bus_factory: BusFactory, end: str) -> None:
    publisher, notifier = await bus_factory(), await bus_factory()
    begun, may_end, is_done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(_: JobEvent) -> None:
        begun.set()
        await may_end.wait()
        is_done.set()

    subscription = await notifier.subscribe_told(handler)
    publishing = asyncio.create_task(publisher.publish(make_event()))
    await begun.wait()
    closing = asyncio.create_task(notifier.close() if end == "bus" else subscription.close())
    done, _ = await asyncio.wait({closing}, timeout=0.2)
    assert not done
    may_end.set()
    async with asyncio.timeout(60):
        await closing
        await publishing
    assert is_done.is_set()


async def test_subscriptions_made_before_the_start_begin_with_it(kind: str, request: pytest.FixtureRequest) -> None:
    bus = MemoryBus() if kind == "memory" else RabbitBus(request.getfixturevalue("rabbitmq_url"), name="test")
    heard = Heard()
    await bus.subscribe_feed(heard.event)
    await bus.subscribe_told(heard.event)
    async with bus:
        await bus.wait_connected()
        event = make_event()
        await bus.publish(event)
        assert await heard.once(2) == [event.id] * 2
