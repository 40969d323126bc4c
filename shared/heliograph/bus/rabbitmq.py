"""The bus on RabbitMQ.

Two connections: what is published never holds up the acknowledgements of what is consumed. Publishing goes straight to
the protocol layer under aio-pika, whose own ``Exchange.publish`` adds nothing that is wanted here.

A told event is *mandatory*, which says that some queue took it: with a live view bound to it and the notifiers' queue
deleted, the broker confirms it all the same. The notifiers' own sweep over the ledger is what finds the job then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq import Channel as ProtocolChannel
from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import PublishError
from pydantic import ValidationError
from typing_extensions import override

from heliograph.backoff import Backoff
from heliograph.bus import topology
from heliograph.bus.consumer import Consumer, Receive
from heliograph.bus.dead import DeadMessages
from heliograph.bus.declaration import TIMEOUT_SECONDS, declare_topology
from heliograph.bus.handling import REDELIVERY, Inbox, call_safely
from heliograph.bus.link import Link, LinkLostError, losses
from heliograph.bus.port import Bus, BusUnavailableError, DeadHandler, EventHandler, HintHandler, Subscription
from heliograph.bus.told import ToldMessages
from heliograph.events.model import JobEvent

_log = structlog.get_logger(__name__)

CONFIRM_SECONDS = 10.0
MEND_SECONDS = 1.0  # a queue that is declared again sooner leaves its old consumers without word (RabbitMQ 3.10)
SIGNAL_SECONDS = 1.0  # a hint that takes longer to be written is worth less than what waits for it
CONTENT_TYPE = "application/cloudevents+json"
_TRANSIENT, _PERSISTENT = 1, 2  # AMQP's delivery modes


class RabbitBus(Bus):
    """A bus over a RabbitMQ broker, which may come and go.

    Parameters
    ----------
    url
        Where the broker is, as ``amqp://user:password@host:port/virtualhost``.
    name
        What the broker's operators see of this process.
    redelivery
        How long an event whose handler raised is held back before the broker delivers it again.
    """

    def __init__(self, url: str, *, name: str, redelivery: Backoff = REDELIVERY) -> None:
        self._redelivery = redelivery
        self._consumers: list[Consumer] = []
        self._beginning = asyncio.Lock()
        self._begun_on: AbstractConnection | None = None
        self._events: ProtocolChannel | None = None
        self._signals: ProtocolChannel | None = None
        self._was_connected: bool | None = None
        self._mending: asyncio.Task[None] | None = None
        self._out = Link(url, name=f"{name} out", on_open=self._open_outgoing, on_change=self._on_change)
        self._in = Link(url, name=f"{name} in", on_open=self._open_incoming, on_change=self._on_change)

    @override
    async def start(self) -> None:
        self._out.start()
        self._in.start()

    @override
    async def close(self) -> None:
        await asyncio.gather(*(consumer.close() for consumer in tuple(self._consumers)))
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait({self._mending})
        await asyncio.gather(self._in.close(), self._out.close())

    @property
    @override
    def is_connected(self) -> bool:
        return self._out.is_open

    @override
    async def wait_connected(self) -> None:
        while not (self._out.is_open and self._in.is_open):
            await self._out.wait_open()
            await self._in.wait_open()

    @override
    async def publish(self, event: JobEvent) -> None:
        channel = self._events
        if channel is None or not self._out.is_open:
            raise BusUnavailableError
        properties = spec.Basic.Properties(content_type=CONTENT_TYPE, delivery_mode=_PERSISTENT, message_id=event.id)
        try:
            with losses():
                await channel.basic_publish(
                    event.to_json(),
                    exchange=topology.EVENTS_EXCHANGE,
                    routing_key=topology.routing_key(event),
                    properties=properties,
                    mandatory=event.data.told,
                    timeout=CONFIRM_SECONDS,
                    wait=False,  # the confirm says more than that it was written
                )
        except LinkLostError as error:
            raise BusUnavailableError from error
        except PublishError as error:
            self._mend_topology()
            raise BusUnavailableError("no queue takes told events; it is being declared again") from error

    @override
    async def subscribe_told(self, handler: EventHandler, *, prefetch: int = 32) -> Subscription:
        messages = ToldMessages(handler, self._redelivery)
        queue = topology.named(topology.TOLD_QUEUE)
        return await self._subscribe((queue,), messages.take, prefetch=prefetch, finish=messages.finish)

    @override
    async def subscribe_dead(self, handler: DeadHandler, *, prefetch: int = 32) -> Subscription:
        messages = DeadMessages(handler, self._redelivery)
        queue = topology.named(topology.DEAD_QUEUE)
        return await self._subscribe((queue,), messages.take, prefetch=prefetch, finish=messages.finish)

    @override
    async def subscribe_feed(self, handler: EventHandler, *, binding: str = "job.#") -> Subscription:
        inbox = Inbox(handler)
        return await self._subscribe((topology.feed_queue(binding),), partial(_put_event, inbox), finish=inbox.close)

    @override
    async def hint(self, backends: Iterable[str]) -> None:
        for backend in backends:
            await self._signal(topology.HINTS_EXCHANGE, topology.word(backend), backend)

    @override
    async def subscribe_hints(self, backends: Iterable[str], handler: HintHandler) -> Subscription:
        queues = tuple(topology.hint_queue(backend) for backend in backends)
        return await self._subscribe(queues, partial(_call_with_body, handler))

    @override
    async def wish_cancel(self, worker: str, job: str) -> None:
        await self._signal(topology.WISHES_EXCHANGE, worker, job)

    @override
    async def subscribe_wishes(self, worker: str, handler: HintHandler) -> Subscription:
        return await self._subscribe((topology.wish_queue(worker),), partial(_call_with_body, handler))

    async def _signal(self, exchange: str, key: str, body: str) -> None:
        channel = self._signals
        if channel is None or not self._out.is_open:
            return
        with suppress(LinkLostError), losses():
            await channel.basic_publish(
                body.encode(),
                exchange=exchange,
                routing_key=key,
                properties=spec.Basic.Properties(content_type="text/plain", delivery_mode=_TRANSIENT),
                timeout=SIGNAL_SECONDS,
            )

    async def _subscribe(
        self,
        queues: tuple[topology.Queue, ...],
        receive: Receive,
        *,
        prefetch: int | None = None,
        finish: Callable[[], Awaitable[None]] | None = None,
    ) -> Subscription:
        consumer = Consumer(self._in, queues, receive, prefetch=prefetch, finish=finish, forget=self._consumers.remove)
        async with self._beginning:
            self._consumers.append(consumer)
            if self._begun_on is not None and self._begun_on is self._in.connection:
                try:
                    await consumer.begin(self._begun_on)
                except LinkLostError as error:
                    self._in.lose(self._begun_on, error)  # the next connection begins it
        return consumer

    async def _open_outgoing(self, connection: AbstractConnection) -> None:
        events = connection.channel(publisher_confirms=True, on_return_raises=True)
        signals = connection.channel(publisher_confirms=False)
        for channel in (events, signals):
            await channel.initialize(timeout=TIMEOUT_SECONDS)
            self._out.guard(connection, channel)
        await declare_topology(signals)
        self._events = await _protocol_channel(events)
        self._signals = await _protocol_channel(signals)

    async def _open_incoming(self, connection: AbstractConnection) -> None:
        async with connection.channel(publisher_confirms=False) as channel:
            await declare_topology(channel)
        async with self._beginning:
            for consumer in tuple(self._consumers):
                await consumer.begin(connection)
            self._begun_on = connection

    def _on_change(self, reason: str | None) -> None:
        """Log the going and coming of the bus once each, however many tries and connections it takes."""
        is_whole = self._out.is_open and self._in.is_open
        if reason is not None and self._was_connected is not False:
            self._was_connected = False
            _log.warning("the bus is away; events wait in the outbox until it is back", reason=reason)
        elif is_whole and not self._was_connected:
            self._was_connected = True
            _log.info("the bus is connected")

    def _mend_topology(self) -> None:
        """Declare what somebody has deleted, once for all the events that did not find it."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._declare_again(self._out.connection))

    async def _declare_again(self, connection: AbstractConnection | None) -> None:
        await asyncio.sleep(MEND_SECONDS)
        if connection is None or connection is not self._out.connection:
            return
        try:
            with losses():
                async with connection.channel(publisher_confirms=False) as channel:
                    await declare_topology(channel)
        except LinkLostError as error:
            self._out.lose(connection, error)


async def _protocol_channel(channel: AbstractChannel) -> ProtocolChannel:
    underlay = await channel.get_underlay_channel()
    assert isinstance(underlay, ProtocolChannel), "aio-pika's transport is aiormq"
    return underlay


def _put_event(inbox: Inbox[JobEvent], message: DeliveredMessage) -> None:
    try:
        inbox.put(JobEvent.model_validate_json(message.body))
    except ValidationError as error:
        _log.warning("a message on the feed is not an event of ours", error=str(error))


def _call_with_body(handler: HintHandler, message: DeliveredMessage) -> None:
    call_safely(handler, message.body.decode(errors="replace"))
