"""A subscription at the broker: a channel with its queues, begun again on each new connection."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage
from typing_extensions import override

from heliograph.bus.declaration import TIMEOUT_SECONDS, declare_queue
from heliograph.bus.link import Link, LinkLostError, losses
from heliograph.bus.port import Subscription
from heliograph.bus.topology import Queue

CLOSE_SECONDS = 2.0  # a broker that is slower than this to let go is left without a word
Receive = Callable[[DeliveredMessage], None]


class Consumer(Subscription):
    """Consumes queues over a channel of its own.

    Parameters
    ----------
    link
        Whose connection it lives on.
    queues
        What to declare and consume.
    receive
        Called with each message; must neither wait nor raise.
    prefetch
        How many unacknowledged messages the broker may hand out; None takes them without acknowledging any.
    finish
        Awaited when closing, after deliveries have stopped and while messages can still be acknowledged.
    forget
        Called when closing, so that no new connection begins it again.
    """

    def __init__(
        self,
        link: Link,
        queues: tuple[Queue, ...],
        receive: Receive,
        *,
        prefetch: int | None = None,
        finish: Callable[[], Awaitable[None]] | None = None,
        forget: "Callable[[Consumer], None]",
    ) -> None:
        self._link = link
        self._queues = queues
        self._receive = receive
        self._prefetch = prefetch
        self._finish = finish
        self._forget = forget
        self._turn = asyncio.Lock()  # pausing, resuming, beginning and ending come one at a time
        self._channel: AbstractChannel | None = None
        self._tags: list[str] = []
        self._is_paused = False
        self._is_closed = False
        self._connection: AbstractConnection | None = None
        self._let_go: Callable[[], None] = _nothing
        self._mending: asyncio.Task[None] | None = None

    async def begin(self, connection: AbstractConnection) -> None:
        """Open a channel on this connection, declare the queues and consume them unless paused.

        Raises
        ------
        LinkLostError
            The connection has gone meanwhile.
        """
        async with self._turn:
            with losses():
                await self._begin(connection)

    @override
    async def pause(self) -> None:
        async with self._turn:
            self._is_paused = True
            await self._stop()

    @override
    async def resume(self) -> None:
        async with self._turn:
            was_paused, self._is_paused = self._is_paused, False
            if was_paused and self._channel is not None and not self._is_closed:
                try:
                    with losses():
                        await self._consume(self._channel)
                except LinkLostError as error:
                    self._link.lose(self._connection, error)  # the next connection begins it anew

    @override
    async def close(self) -> None:
        async with self._turn:
            if self._is_closed:
                return
            self._is_closed = True
            self._forget(self)
            await self._stop(CLOSE_SECONDS)
            if self._finish is not None:
                await self._finish()
            await self._end()
        if self._mending is not None:
            await asyncio.wait({self._mending})

    async def _begin(self, connection: AbstractConnection) -> None:
        if self._is_closed:
            return
        channel = connection.channel(publisher_confirms=False)
        await channel.initialize(timeout=TIMEOUT_SECONDS)
        self._let_go = self._link.guard(connection, channel)
        self._channel = channel
        self._connection = connection
        self._tags.clear()
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: self._on_cancel(connection))
        if self._prefetch is not None:
            await channel.set_qos(self._prefetch, timeout=TIMEOUT_SECONDS)
        if not self._is_paused:
            await self._consume(channel)

    async def _consume(self, channel: AbstractChannel) -> None:
        underlay = await channel.get_underlay_channel()
        for queue in self._queues:
            name = await declare_queue(channel, queue)
            begun = await underlay.basic_consume(
                name, self._deliver, no_ack=self._prefetch is None, timeout=TIMEOUT_SECONDS
            )
            if begun.consumer_tag is not None:
                self._tags.append(begun.consumer_tag)

    async def _deliver(self, message: DeliveredMessage) -> None:
        self._receive(message)

    async def _stop(self, seconds: float = TIMEOUT_SECONDS) -> None:
        """Stop deliveries; on a lost connection there are none."""
        tags, self._tags = self._tags, []
        if self._channel is not None:
            with suppress(LinkLostError), losses():
                underlay = await self._channel.get_underlay_channel()
                for tag in tags:
                    await underlay.basic_cancel(tag, timeout=seconds)

    async def _end(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._let_go()
            with suppress(LinkLostError), losses():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await channel.close()

    def _on_cancel(self, connection: AbstractConnection) -> None:
        """Mend what the broker has ended, such as a queue that was deleted; the channel's reader cannot wait for it."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend(connection))

    async def _mend(self, connection: AbstractConnection) -> None:
        async with self._turn:
            await self._end()
            try:
                with losses():
                    await self._begin(connection)
            except LinkLostError as error:
                self._link.lose(connection, error)


def _nothing() -> None:
    """Let go of no channel."""
