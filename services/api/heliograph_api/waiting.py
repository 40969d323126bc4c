"""Long polls: a request waits for a job to change, or for something to come into a queue; the event wakes it.

The feed of events is open only while somebody waits, and for a while after: an event that nobody looks at costs this
process and the broker a quarter of a millisecond each, which a service that only takes jobs need not pay.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from heliograph.bus.port import Bus, Subscription
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job
from heliograph.jobs.states import State

_log = structlog.get_logger()

LOOK_SECONDS = 1.0  # without the feed
LOOK_CONNECTED_SECONDS = 5.0  # an event may be lost while the feed reconnects
LOOK_QUEUE_SECONDS = 2.0  # no event tells that a waiting job has become due, nor that whoever waits has gone
IDLE_SECONDS = 60.0  # a client that polls comes back sooner


_JOB, _QUEUE = "job", "queue"
Found = TypeVar("Found")


class Waiting:
    """Wakes who waits for a job, or for one to come into a queue."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiters: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
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
        return await self._until((_JOB, job), read, holds, seconds, LOOK_CONNECTED_SECONDS)

    async def until_queued(
        self, queue: str, look: Callable[[], Awaitable[Found]], holds: Callable[[Found], bool], seconds: float
    ) -> Found:
        """Return what ``look`` finds once ``holds``, looking whenever a job comes into the queue; as ``until``."""
        return await self._until((_QUEUE, queue), look, holds, seconds, LOOK_QUEUE_SECONDS)

    async def _until(
        self, key: tuple[str, str], look: Callable[[], Awaitable[Found]], holds: Callable[[Found], bool],
        seconds: float, look_seconds: float,
    ) -> Found:  # fmt: skip
        woken = asyncio.Event()
        self._waiters[key].add(woken)
        self._came.set()
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + seconds
            while True:
                woken.clear()
                self._open()
                found = await look()
                remaining = deadline - loop.time()
                if holds(found) or remaining <= 0 or self._is_released:
                    return found
                pause = look_seconds if self._feed and self._bus.is_connected else LOOK_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(remaining, pause)):
                        await woken.wait()
        finally:
            self._waiters[key].discard(woken)
            if not self._waiters[key]:
                del self._waiters[key]
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
        keys = [(_JOB, event.subject)]
        if event.data.state is State.QUEUED and not event.is_progress:
            keys.append((_QUEUE, event.data.queue))
        for key in keys:
            for waiter in self._waiters.get(key, ()):
                waiter.set()
