"""The bus on RabbitMQ.

Two connections: what is published never holds up the acknowledgements of what is consumed. Publishing goes straight to
the protocol layer under aio-pika, whose own ``Exchange.publish`` adds nothing that is wanted here.

A told event is *mandatory*, which says that some queue took it: with a live view bound to it and the notifiers' queue
deleted, the broker confirms it all the same. The notifiers' own sweep over the ledger is what finds the job then.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial

import structlog
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import PublishError
from aiormq.spec import Basic
from pydantic import ValidationError

from heliograph.bus import topology
from heliograph.bus.backoff import Backoff
from heliograph.bus.consumer import LOST, Consumer
from heliograph.bus.declaration import TIMEOUT_SECONDS, declare_topology
from heliograph.bus.handling import Inbox, call_safely
from heliograph.bus.link import Link
from heliograph.bus.port import Bus, BusUnavailableError, EventHandler, HintHandler, Subscription
from heliograph.bus.told import ToldMessages
from heliograph.events.model import JobEvent

_log = structlog.get_logger(__name__)

CONFIRM_SECONDS = 10.0
SIGNAL_SECONDS = 1.0  # a hint that takes longer to be written is worth less than what waits for it
REDELIVERY = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))  # ten tries take about 20 s
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
        self._incoming: AbstractConnection | None = None
        self._events: AbstractChannel | None = None
        self._signals: AbstractChannel | None = None
        self._was_connected: bool | None = None
        self._mending: asyncio.Task[None] | None = None
        self._out = Link(url, name=f"{name} out", on_open=self._open_outgoing, on_change=self._on_change)
        self._in = Link(url, name=f"{name} in", on_open=self._open_incoming, on_change=self._on_change)

    async def start(self) -> None:
        self._out.start()
        self._in.start()

    async def close(self) -> None:
        for consumer in tuple(self._consumers):
            await consumer.close()
        await self._in.close()
        await self._out.close()

    @property
    def is_connected(self) -> bool:
        return self._out.is_open

    async def wait_connected(self) -> None:
        while not (self._out.is_open and self._in.is_open):
            await self._out.wait_open()
            await self._in.wait_open()

    async def publish(self, event: JobEvent) -> None:
        channel = self._events
        if channel is None or not self._out.is_open:
            raise BusUnavailableError
        told = event.data.told
        try:
            with _unavailable_when_lost():
                await channel.basic_publish(
                    event.to_json(),
                    exchange=topology.EVENTS_EXCHANGE,
                    routing_key=topology.routing_key(event),
                    properties=Basic.Properties(
                        content_type=CONTENT_TYPE, delivery_mode=_PERSISTENT, message_id=event.id
                    ),
                    mandatory=told,
                    timeout=CONFIRM_SECONDS,
                    wait=False,  # the confirm says more than that it was written
                )
        except PublishError as error:
            self._mend_topology()
            raise BusUnavailableError("no queue takes told events; it is declared again") from error

    async def subscribe_told(self, handler: EventHandler, *, prefetch: int = 32) -> Subscription:
        messages = ToldMessages(handler, self._redelivery)
        told = next(queue for queue in topology.QUEUES if queue.name == topology.TOLD_QUEUE)
        return await self._subscribe((told,), messages.take, prefetch=prefetch, finish=messages.finish)

    async def subscribe_feed(self, handler: EventHandler, *, binding: str = "job.#") -> Subscription:
        inbox = Inbox(handler)
        return await self._subscribe(
            (topology.feed_queue(binding),), partial(_put_event, inbox), finish=inbox.close
        )

    async def hint(self, backends: Iterable[str]) -> None:
        for backend in backends:
            await self._signal(topology.HINTS_EXCHANGE, topology.word(backend), backend)

    async def subscribe_hints(self, backends: Iterable[str], handler: HintHandler) -> Subscription:
        queues = tuple(topology.hint_queue(backend) for backend in backends)
        return await self._subscribe(queues, partial(_call_with_body, handler))

    async def wish_cancel(self, worker: str, job: str) -> None:
        await self._signal(topology.WISHES_EXCHANGE, worker, job)

    async def subscribe_wishes(self, worker: str, handler: HintHandler) -> Subscription:
        return await self._subscribe((topology.wish_queue(worker),), partial(_call_with_body, handler))

    async def _signal(self, exchange: str, key: str, body: str) -> None:
        channel = self._signals
        if channel is None or not self._out.is_open:
            return
        with suppress(BusUnavailableError), _unavailable_when_lost():
            await channel.basic_publish(
                body.encode(),
                exchange=exchange,
                routing_key=key,
                properties=Basic.Properties(content_type="text/plain", delivery_mode=_TRANSIENT),
                timeout=SIGNAL_SECONDS,
            )

    async def _subscribe(
        self,
        queues: tuple[topology.Queue, ...],
        receive: Callable[[DeliveredMessage], None],
        *,
        prefetch: int | None = None,
        finish: Callable[[], "asyncio.Future[None]"] | None = None,
    ) -> Subscription:
        consumer = Consumer(
            self._in, queues, receive, prefetch=prefetch, finish=finish or _nothing, forget=self._consumers.remove
        )
        async with self._beginning:
            self._consumers.append(consumer)
            if self._incoming is not None and self._in.is_open:
                try:
                    await consumer.begin(self._incoming)
                except LOST as error:
                    self._in.lose(consumer, error)  # the next connection begins it anew
        return consumer

    async def _open_outgoing(self, connection: AbstractConnection) -> None:
        events = connection.channel(publisher_confirms=True, on_return_raises=True)
        signals = connection.channel(publisher_confirms=False)
        for channel in (events, signals):
            await channel.initialize(timeout=TIMEOUT_SECONDS)
            self._out.guard(channel)
        await declare_topology(signals)
        self._events = await events.get_underlay_channel()
        self._signals = await signals.get_underlay_channel()
