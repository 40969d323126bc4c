"""What the bus on RabbitMQ promises of a broker that goes, comes back, or loses something."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress

import aio_pika
import pytest
import structlog

from heliograph.bus import rabbitmq, topology
from heliograph.bus.port import BusUnavailableError, DeadEvent
from heliograph.bus.rabbitmq import RabbitBus
from heliograph.events.model import JobEvent
from tests.contract.conftest import QUICK, Heard, first_dead, make_event, publish_until_taken
from tests.parts.rabbitmq import RabbitNode
from tests.parts.waiting import until


@pytest.fixture
async def bus(rabbitmq_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(rabbitmq_url, name="test", redelivery=QUICK) as bus:
        await bus.wait_connected()
        yield bus


@pytest.mark.faults
async def test_everything_goes_on_after_the_broker_was_restarted(bus: RabbitBus, rabbitmq_node: RabbitNode) -> None:
    told, feed, hints, wishes = Heard(), Heard(), Heard(), Heard()
    await bus.subscribe_feed(feed.event)
    await bus.subscribe_hints(["periodogram"], hints.value)
    await bus.subscribe_wishes("worker", wishes.value)
    kept = make_event()
    await bus.publish(kept)
    await feed.once(1)  # which the broker's end would take along
    with structlog.testing.capture_logs() as logs:
        await asyncio.to_thread(rabbitmq_node.stop)
        with pytest.raises(BusUnavailableError):
            await bus.publish(make_event())
        await bus.hint(["periodogram"])
        await bus.subscribe_told(told.event)  # while away
        await asyncio.to_thread(rabbitmq_node.start)
        async with asyncio.timeout(60):
            await bus.wait_connected()
    assert [(line["log_level"], line["event"].split(";")[0]) for line in logs] == [
        ("warning", "the bus is away"),
        ("info", "the bus is connected"),
    ]
    event = make_event()
    await bus.publish(event)
    await bus.hint(["periodogram"])
    await bus.wish_cancel("worker", "job-1")
    assert await told.once(2) == [kept.id, event.id]
    assert await feed.once(2) == [kept.id, event.id]
    assert await hints.once(1) == ["periodogram"]
    assert await wishes.once(1) == ["job-1"]


@pytest.mark.faults
async def test_what_was_confirmed_survives_a_kill_and_what_was_not_says_so(
    bus: RabbitBus, rabbitmq_node: RabbitNode
) -> None:
    confirmed: list[str] = []

    async def publish_until_refused() -> None:
        while True:
            event = make_event()
            await bus.publish(event)
            confirmed.append(event.id)

    publishers = [asyncio.create_task(publish_until_refused()) for _ in range(64)]
    # The node writes the name of a new quorum queue to disk up to 3 s late, and killed before loses the whole queue.
    await asyncio.wait(publishers, timeout=4)
    assert confirmed
    await asyncio.to_thread(rabbitmq_node.kill)
    async with asyncio.timeout(rabbitmq.CONFIRM_SECONDS):  # none of them waits for a confirm
        outcomes = await asyncio.gather(*publishers, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BusUnavailableError}
    await asyncio.to_thread(rabbitmq_node.start)
    heard = Heard()
    await bus.subscribe_told(heard.event)
    last = make_event()
    await publish_until_taken(bus, last)
    async with asyncio.timeout(60):
        while last.id not in heard.items:
            await heard.once(len(heard.items) + 1)
    assert set(confirmed) <= set(heard.items)


@pytest.mark.faults
async def test_a_broker_that_answers_nothing_is_not_waited_for(
    bus: RabbitBus, rabbitmq_node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "CONFIRM_SECONDS", 0.5)
    await bus.publish(make_event())
    rabbitmq_node.pause()
    try:
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*(bus.publish(make_event()) for _ in range(64)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {BusUnavailableError}
            await bus.hint(["periodogram"])
    finally:
        rabbitmq_node.resume()
    await publish_until_taken(bus, make_event())


@pytest.mark.faults
async def test_closing_ends_soon_while_the_broker_answers_nothing(
    bus: RabbitBus, rabbitmq_node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "CONFIRM_SECONDS", 100.0)
    await bus.subscribe_feed(Heard().event)
    rabbitmq_node.pause()
    try:
        publishing = asyncio.create_task(bus.publish(make_event()))
        await asyncio.sleep(0)  # it begins
        async with asyncio.timeout(60):  # the confirm would be waited for longer
            await bus.close()
            with pytest.raises(BusUnavailableError):
                await publishing
    finally:
        rabbitmq_node.resume()


async def test_a_handler_is_not_cut_off_when_its_connection_goes(bus: RabbitBus, rabbitmq_node: RabbitNode) -> None:
    begun, may_end, heard = asyncio.Event(), asyncio.Event(), Heard()

    async def handler(event: JobEvent) -> None:
        begun.set()
        await may_end.wait()
        await heard.event(event)

    await bus.subscribe_told(handler)
    event = make_event()
    await bus.publish(event)
    await begun.wait()
    await asyncio.to_thread(rabbitmq_node.close_connections)
    may_end.set()
    assert await heard.once(2) == [event.id] * 2  # once begun before, once delivered again
    await bus.wait_connected()


async def test_every_notifier_goes_on_when_their_queue_was_deleted(
    bus: RabbitBus, rabbitmq_url: str, rabbitmq_node: RabbitNode
) -> None:
    together = Heard()
    first, second = Heard(together), Heard(together)
    async with RabbitBus(rabbitmq_url, name="other") as other:
        await other.wait_connected()
        await bus.subscribe_told(first.event, prefetch=1)
        await other.subscribe_told(second.event, prefetch=1)
        await asyncio.to_thread(rabbitmq_node.delete_queue, topology.TOLD_QUEUE)
        published: set[str] = set()
        async with asyncio.timeout(60):
            while not (first.items and second.items):
                event = make_event()
                await publish_until_taken(bus, event)
                published.add(event.id)
        await until(lambda: published <= set(together.items))  # some may come twice


async def test_a_worker_goes_on_when_its_queue_of_hints_was_deleted(bus: RabbitBus, rabbitmq_node: RabbitNode) -> None:
    hints = Heard()
    await bus.subscribe_hints(["periodogram", "stack"], hints.value)
    await asyncio.to_thread(rabbitmq_node.delete_queue, "heliograph.hints.periodogram")
    async with asyncio.timeout(60):
        while "periodogram" not in hints.items:
            await bus.hint(["periodogram"])
            with suppress(TimeoutError):
                await hints.once(1, seconds=0.1)


async def test_publishing_goes_on_when_the_exchange_was_deleted(bus: RabbitBus, rabbitmq_node: RabbitNode) -> None:
    heard, event = Heard(), make_event()
    await bus.subscribe_told(heard.event)
    await asyncio.to_thread(rabbitmq_node.delete_exchange, topology.EVENTS_EXCHANGE)
    with pytest.raises(BusUnavailableError):
        await bus.publish(make_event())
    await publish_until_taken(bus, event)


async def test_a_told_event_that_no_queue_takes_is_refused_until_there_is_one_again(
    bus: RabbitBus, rabbitmq_node: RabbitNode
) -> None:
    await asyncio.to_thread(rabbitmq_node.delete_queue, topology.TOLD_QUEUE)
    with pytest.raises(BusUnavailableError):
        await bus.publish(make_event(told=True))
    event, heard = make_event(), Heard()
    await publish_until_taken(bus, event)
    await bus.subscribe_told(heard.event)
    assert await heard.once(1) == [event.id]


async def test_a_plain_event_that_no_queue_takes_is_published(bus: RabbitBus) -> None:
    await bus.publish(make_event(told=False))


async def test_a_message_that_is_no_event_is_laid_aside_at_once(bus: RabbitBus, rabbitmq_url: str) -> None:
    heard = Heard()
    await bus.subscribe_told(heard.event)
    await bus.subscribe_feed(heard.event)
    async with await aio_pika.connect(rabbitmq_url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange(topology.EVENTS_EXCHANGE)
        await exchange.publish(aio_pika.Message(b"not an event"), "job.done.any.told")
    assert await first_dead(rabbitmq_url) == b"not an event"
    event = make_event()
    await bus.publish(event)
    assert await heard.once(2) == [event.id] * 2


async def test_a_dead_letter_that_is_no_event_holds_up_no_other(bus: RabbitBus, rabbitmq_url: str) -> None:
    dead: asyncio.Queue[DeadEvent] = asyncio.Queue()
    event = make_event()
    async with await aio_pika.connect(rabbitmq_url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange(topology.DEAD_EXCHANGE)
        for body in (b"not an event", event.to_json()):
            await exchange.publish(aio_pika.Message(body), "")
        subscription = await bus.subscribe_dead(dead.put, prefetch=1)
        async with asyncio.timeout(30):
            assert await dead.get() == DeadEvent(event)  # the broker laid nothing aside here, and so tells nothing
        await subscription.close()
        queue = await channel.get_queue(topology.DEAD_QUEUE)
        assert await queue.get(fail=False) is None


async def test_a_paused_subscription_is_still_paused_on_the_next_connection(
    bus: RabbitBus, rabbitmq_node: RabbitNode
) -> None:
    heard, feed = Heard(), Heard()
    subscription = await bus.subscribe_hints(["periodogram"], heard.value)
    await bus.subscribe_feed(feed.event)
    await subscription.pause()
    await asyncio.to_thread(rabbitmq_node.close_connections)
    async with asyncio.timeout(60):
        while not feed.items:
            await publish_until_taken(bus, make_event(told=False))
            with suppress(TimeoutError):
                await feed.once(1, seconds=0.1)
    await bus.hint(["periodogram"])
    await publish_until_taken(bus, make_event(told=False))
    await feed.once(len(feed.items) + 1)
    assert heard.items == []
    await subscription.resume()
    assert await heard.once(1) == ["periodogram"]


async def test_hints_wait_a_while_for_a_paused_worker(bus: RabbitBus) -> None:
    heard = Heard()
    subscription = await bus.subscribe_hints(["periodogram"], heard.value)
    await subscription.pause()
    await bus.hint(["periodogram"])
    await subscription.resume()
    assert await heard.once(1) == ["periodogram"]


async def test_subscribing_and_closing_at_once_leaves_nothing_behind(bus: RabbitBus, rabbitmq_node: RabbitNode) -> None:
    for _ in range(5):
        subscription = await bus.subscribe_feed(Heard().event)
        await asyncio.gather(subscription.pause(), subscription.resume(), subscription.close())

    async def are_gone() -> bool:
        return await asyncio.to_thread(rabbitmq_node.queues) == {topology.TOLD_QUEUE, topology.DEAD_QUEUE}

    await until(are_gone)  # the broker removes them once it was asked to


async def test_an_absent_broker_is_said_once_and_leaves_nothing_for_the_garbage_collector() -> None:
    with structlog.testing.capture_logs() as logs:
        async with RabbitBus("amqp://127.0.0.1:1/", name="test") as bus:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await bus.wait_connected()
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [line["log_level"] for line in logs] == ["warning"]
