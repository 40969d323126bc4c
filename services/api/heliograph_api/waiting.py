"""Long polls: a request waits for a job to change, and is woken by the job's event.

The feed of events is open only while somebody waits, and for a while after: an event that nobody looks at costs this
process and the broker a quarter of a millisecond each, which a service that only takes jobs need not pay.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable

from heliograph.bus.port import Bus, Subscription
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job

LOOK_SECONDS = 1.0  # without the bus
LOOK_CONNECTED_SECONDS = 5.0  # an event may be lost while the feed reconnects
IDLE_SECONDS = 60.0  # a client that polls comes back sooner


class Waiting:
    """Wakes who waits for a job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._feed: Subscription | None = None
        self._opening = asyncio.Lock()
        self._came = asyncio.Event()
        self._left = asyncio.Event()
        self._is_released = False

    async def run(self) -> None:
        """Close the feed whenever nobody has waited for a while; runs until cancelled, then closes it for good."""
        try:
            while True:
                await self._left.wait()
                self._left.clear()
                self._came.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._came.wait()
                        continue
                async with self._opening:
                    if not self._waiters:  # whoever comes now finds it closed, and opens it again
                        await self._close()
        finally:
            await self._close()

    def release(self) -> None:
        """Let everybody go with what there is, now and from now on: the service ends and must not wait for them."""
        self._is_released = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.set()

    async def until(
        self, job: str, read: Callable[[], Awaitable[Job]], holds: Callable[[Job], bool], seconds: float
    ) -> Job:
        """Return the job once ``holds``, or as it is when the time is over or everybody is released.

        It registers first and reads then, so that a change between the two is not missed; while the bus is away it
        looks by itself.
        """
        woken = asyncio.Event()
        self._waiters[job].add(woken)
        self._came.set()
        try:
            await self._open()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + seconds
            while True:
                woken.clear()
                found = await read()
                remaining = deadline - loop.time()
                if holds(found) or remaining <= 0 or self._is_released:
                    return found
                look = LOOK_CONNECTED_SECONDS if self._bus.is_connected else LOOK_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(remaining, look)):
                        await woken.wait()
        finally:
            self._waiters[job].discard(woken)
            if not self._waiters[job]:
                del self._waiters[job]
            if not self._waiters:
                self._left.set()

    async def _open(self) -> None:
        async with self._opening:
            if self._feed is None:
                self._feed = await self._bus.subscribe_feed(self._on_event)

    async def _close(self) -> None:
        if self._feed is not None:
            feed, self._feed = self._feed, None
            await feed.close()

    async def _on_event(self, event: JobEvent) -> None:
        for waiter in self._waiters.get(event.subject, ()):
            waiter.set()
