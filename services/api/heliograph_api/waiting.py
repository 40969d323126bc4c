"""Long polls: a request waits for a job to change, and is woken by the job's event."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from heliograph.bus.port import Bus
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job

LOOK_SECONDS = 1.0  # without the bus
LOOK_CONNECTED_SECONDS = 5.0  # an event may be lost while the feed reconnects


class Waiting:
    """Wakes who waits for a job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)

    async def on_event(self, event: JobEvent) -> None:
        """Wake who waits for the event's job."""
        for waiter in self._waiters.get(event.subject, ()):
            waiter.set()

    async def until(
        self, job: str, read: Callable[[], Awaitable[Job]], holds: Callable[[Job], bool], seconds: float
    ) -> Job:
        """Return the job once ``holds``, or as it is when the time is over.

        It registers first and reads then, so that a change between the two is not missed; while the bus is away it
        looks by itself.
        """
        woken = asyncio.Event()
        self._waiters[job].add(woken)
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + seconds
            while True:
                woken.clear()
                found = await read()
                remaining = deadline - loop.time()
                if holds(found) or remaining <= 0:
                    return found
                look = LOOK_CONNECTED_SECONDS if self._bus.is_connected else LOOK_SECONDS
                try:
                    async with asyncio.timeout(min(remaining, look)):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiters[job].discard(woken)
            if not self._waiters[job]:
                del self._waiters[job]
