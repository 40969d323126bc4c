"""Both implementations of the bus, so that each promise is checked on both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import aio_pika
import pytest

from heliograph.backoff import Backoff
from heliograph.bus import topology
from heliograph.bus.memory import MemoryBus
from heliograph.bus.port import Bus, BusUnavailableError, DeadEvent
from heliograph.bus.rabbitmq import RabbitBus
from heliograph.events.model import JobEvent, JobEventData
from heliograph.ids import new_id
from heliograph.jobs.states import State

QUICK = Backoff(timedelta(milliseconds=10), timedelta(milliseconds=20))  # ten tries of an event in a moment

BusFactory = Callable[[], Awaitable[Bus]]
_seq = count(1)


def make_event(*, state: State = State.DONE, told: bool = True, queue: str = "periodogram") -> JobEvent:
    job, now = new_id(), datetime.now(UTC)
    return JobEvent.of_change(
        JobEventData(id=job, state=state, series=1, seq=next(_seq), told=told, queue=queue, owner="ada", at=now)
    )


class Heard:
    """A handler that keeps what it was told; ``once`` waits for a number of things.

    What one hears, ``together`` hears too, so that a test can wait for what several got between them.
    """

    def __init__(self, together: "Heard | None" = None) -> None:
        self._together = together
        self.items: list[str] = []
        self._changed = asyncio.Condition()
        self._fails_left = 0

    def fail(self, times: int) -> None:
        """Raise at the next so many events."""
        self._fails_left = times

    async def event(self, event: JobEvent) -> None:
        self.value(event.id)
        if self._fails_left > 0:
            self._fails_left -= 1
            raise ValueError("on purpose")

    async def dead(self, dead: DeadEvent) -> None:
        await self.event(dead.event)

    def value(self, value: str) -> None:
        self.items.append(value)
        if self._together is not None:
            self._together.value(value)
        task = asyncio.ensure_future(self._tell())
        task.add_done_callback(lambda done: done.exception())

    async def once(self, number: int, seconds: float = 60) -> list[str]:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.items) >= number)
        return list(self.items)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def publish_until_taken(bus: Bus, event: JobEvent, seconds: float = 60) -> None:
    """Publish as the outbox does: again until it is taken."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await bus.publish(event)
            except BusUnavailableError:
                await asyncio.sleep(0.01)
            else:
                return


async def first_dead(url: str) -> bytes:
    """Return the first message in the dead-letter queue, once there is one."""
    async with asyncio.timeout(30), await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(topology.DEAD_QUEUE)
        async with queue.iterator() as messages:
            async for message in messages:
                await message.ack()
                return message.body
    raise AssertionError("the iterator ends only when it is closed")


@pytest.fixture(params=["memory", "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def bus_factory(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[BusFactory]:
    """Make the bus of one more process: in memory all share one, on RabbitMQ each has its own connections."""
    made: list[Bus] = []

    async def make() -> Bus:
        if kind == "memory" and made:
            return made[0]
        bus: Bus
        if kind == "memory":
            bus = MemoryBus()
        else:
            bus = RabbitBus(request.getfixturevalue("rabbitmq_url"), name=f"test {len(made)}", redelivery=QUICK)
        made.append(bus)
        await bus.start()
        await bus.wait_connected()
        return bus

    yield make
    for bus in reversed(made):
        await bus.close()
