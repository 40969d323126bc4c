"""Long polls: a request waits for a job to change, and is woken by the job's event.

The feed of events is open only while somebody waits, and for a while after: an event that nobody looks at costs this
process and the broker a quarter of a millisecond each, which a service that only takes jobs need not pay.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable

import structlog

from heliograph.bus.port import Bus, Subscription
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job

_log = structlog.get_logger()

LOOK_SECONDS = 1.0  # without the feed
LOOK_CONNECTED_SECONDS = 5.0  # an event may be lost while the feed reconnects
IDLE_SECONDS = 60.0  # a client that polls comes back sooner


class Waiting:
    """Wakes who waits for a job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._feed: Subscription | None = None
        self._opening: asyncio.Task[None] | None = None
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
                if self._opening is not None:  # to end it half-way would leave half of a subscription with the bus
                    await asyncio.wait({self._opening})
                if not self._waiters:  # whoever comes now finds it closed, and opens it again
                    await self._close()
        finally:
            self.release()
            await self._close()

    def release(self) -> None:
        """Let everybody go with what there is, now and from now on: the service ends and must not wait for them."""
        self._is_released = True
        self._wake_all()

    async def until(
        self, job: str, read: Callable[[], Awaitable[Job]], holds: Callable[[Job], bool], seconds: float
    ) -> Job:
        """Return the job once ``holds``, or as it is when the time is over or everybody is released.

        It registers first and reads then, so that a change between the two is not missed. Nobody waits for the feed to
        open: until it is, and while the bus is away, it looks by itself.
        """
        woken = asyncio.Event()
        self._waiters[job].add(woken)
        self._came.set()
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + seconds
            while True:
                woken.clear()
                self._open()
                found = await read()
                remaining = deadline - loop.time()
                if holds(found) or remaining <= 0 or self._is_released:
                    return found
                look = LOOK_CONNECTED_SECONDS if self._feed and self._bus.is_connected else LOOK_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(remaining, look)):
                        await woken.wait()
        finally:
            self._waiters[job].discard(woken)
            if not self._waiters[job]:
                del self._waiters[job]
            if not self._waiters:
                self._left.set()

    def _open(self) -> None:
        """See to it that the feed opens, in a task of its own; one that failed is tried again at the next look."""
        if self._feed is None and self._opening is None and not self._is_released:
            self._opening = asyncio.create_task(self._subscribe())

    async def _subscribe(self) -> None:
        try:
            self._feed = await self._bus.subscribe_feed(self._on_event)
        except Exception as error:  # noqa: BLE001 - whatever it is: who waits looks by itself meanwhile
            _log.warning("the feed of events could not be opened", why=repr(error))
        else:
            self._wake_all()  # what happened before the feed was open is looked at, not awaited
        finally:
            self._opening = None

    async def _close(self) -> None:
        if self._opening is not None:
            opening = self._opening
            opening.cancel()
            await asyncio.wait({opening})
        if self._feed is not None:
            feed, self._feed = self._feed, None
            await feed.close()

    def _wake_all(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.set()

    async def _on_event(self, event: JobEvent) -> None:
        for waiter in self._waiters.get(event.subject, ()):
            waiter.set()
