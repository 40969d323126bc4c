"""A subscriber as a third party would have one: a durable queue that gets every event, also while nobody looks."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from heliograph.bus.topology import EVENTS_EXCHANGE
from heliograph.events.model import JobEvent

QUEUE = "heliograph.test.subscriber"


class Subscriber:
    """Counts the changes of state that were told of, by (job, seq); keeps each message as it came."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: Counter[tuple[str, int]] = Counter()
        self.states: dict[tuple[str, int], str] = {}
        self.messages: list[AbstractIncomingMessage] = []

    async def declare(self) -> None:
        """Declare the queue, and the exchange as the services do, so that either may come first."""
        async with await aio_pika.connect(self._url) as connection, connection.channel() as channel:
            exchange = await channel.declare_exchange(EVENTS_EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue(QUEUE, durable=True)
            await queue.bind(exchange, "job.#")

    async def hear_all(self, seqs: Mapping[str, int], seconds: float = 60.0) -> None:
        """Return once every change of these jobs has come at least once; ``seqs`` has each job's last."""
        wanted = {(job, seq) for job, last in seqs.items() for seq in range(1, last + 1)}
        await self.hear(lambda: wanted <= self.seen.keys(), seconds)

    async def hear(self, is_enough: Callable[[], bool], seconds: float = 60.0) -> None:
        """Listen until it is enough."""
        async with (
            asyncio.timeout(seconds),
            await aio_pika.connect(self._url) as connection,
            connection.channel() as channel,
        ):
            await channel.set_qos(100)
            queue = await channel.get_queue(QUEUE)
            async with queue.iterator() as messages:
                while not is_enough():
                    message = await anext(messages)
                    self._take(message)
                    await message.ack()

    async def repeat(self, messages: Iterable[AbstractIncomingMessage]) -> None:
        """Publish messages again as they are, as a relay does that died before it noted that they were out."""
        async with await aio_pika.connect(self._url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(EVENTS_EXCHANGE)
            for message in messages:
                again = aio_pika.Message(
                    message.body, content_type=message.content_type, message_id=message.message_id,
                    delivery_mode=message.delivery_mode,
                )  # fmt: skip
                await exchange.publish(again, message.routing_key or "")

    async def waiting(self, queue: str) -> int:
        """Return how many messages lie ready in a queue."""
        async with await aio_pika.connect(self._url) as connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    def _take(self, message: AbstractIncomingMessage) -> None:
        event = JobEvent.model_validate_json(message.body)
        if not event.is_progress:
            place = (event.data.id, event.data.seq)
            self.seen[place] += 1
            # A repeated event says the same.
            assert self.states.setdefault(place, event.data.state) == event.data.state
            self.messages.append(message)
