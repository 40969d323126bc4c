"""A channel's line: leases what is due a few ahead, and keeps its workers busy with it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from heliograph import faults
from heliograph.channels import Channel
from heliograph.notices.store import Leased, Ledger
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.attempts import Attempts, Ended, Known
from heliograph_notifier.rest import Rest

_log = structlog.get_logger()

POLL_SECONDS = 1.0  # what another process planned, and what has become due, is seen after this
PAUSE_SECONDS = 0.5  # while the database is away
MOST_AHEAD = 8  # times as many as there are workers; more gain little, and leave more open behind a lost sender


@dataclass(frozen=True, slots=True)
class _Ready:
    """A leased delivery, and what was read for it together with others."""

    leased: Leased
    known: Known


class Line:
    """Sends over one channel with several workers, each one delivery at a time.

    While they send, the next deliveries are leased, and what is to be said of them is read at once: as many as there
    are workers, and up to ``MOST_AHEAD`` times as many over a channel that is so fast that its workers ran out of them.
    No more than that is ever leased and not begun. What could not be begun in time, or comes up while the channel
    rests, is given back.
    """

    def __init__(self, ledger: Ledger, channel: Channel, attempts: Attempts, rest: Rest, *, workers: int) -> None:
        self._ledger = ledger
        self._channel = channel
        self._attempts = attempts
        self._rest = rest
        self._workers = workers
        self._ahead: asyncio.Queue[_Ready | None] = asyncio.Queue()
        self._most = workers  # leased and not begun
        self._idle = 0
        self._wake = asyncio.Event()
        self._is_stopping = False

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self._channel.name

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._is_stopping

    def wake(self) -> None:
        """Say that something new waits to be sent."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` end once what is being sent is recorded."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Send until stopped."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(), name=f"sender-{self._channel.name}-feed")
            for number in range(self._workers):
                group.create_task(self._work(group), name=f"sender-{self._channel.name}-{number}")

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while ready := await self._next():
            faults.reach(faults.Point.SENDING_NOT_SENT)
            ended = await self._attempts.make(ready.leased, ready.known)
            group.create_task(_record(ready.leased, ended))  # the worker goes on meanwhile

    async def _next(self) -> _Ready | None:
        """Return what to send next; None once the line is stopped."""
        while True:
            self._idle += 1
            try:
                ready = await self._ahead.get()
            finally:
                self._idle -= 1
            if self._is_low:
                self._wake.set()
            if ready is None:
                return None
            if not self._is_stopping and self._is_open and self._attempts.fits(ready.leased):
                return ready
            await _insist(partial(self._ledger.release, ready.leased))

    async def _feed(self) -> None:
        """Keep the workers busy until the line is stopped, and then tell each of them."""
        while not self._is_stopping:
            self._wake.clear()
            if not (self._is_open and self._is_low and await self._lease()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        for _ in range(self._workers):
            self._ahead.put_nowait(None)

    async def _lease(self) -> bool:
        """Lease what is due, and return whether that was anything."""
        most = self._most - self._ahead.qsize()
        try:
            leased = await self._ledger.lease(self._channel.name, most)
        except StoreUnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)
            return True
        if len(leased) < most:
            self._most = self._workers
        elif self._idle:
            self._most = min(2 * self._most, MOST_AHEAD * self._workers)
        known = await self._attempts.read(leased) if leased else Known()
        for each in leased:
            self._ahead.put_nowait(_Ready(each, known))
        return bool(leased)

    @property
    def _is_low(self) -> bool:
        return 2 * self._ahead.qsize() <= self._most

    @property
    def _is_open(self) -> bool:
        return self._rest.is_over and self._channel.is_open


async def _record(leased: Leased, ended: Ended) -> None:
    if not await _insist(ended.record):
        _log.warning("a notice was recorded by somebody else", notice=leased.delivery.id, outcome=ended.outcome)


async def _insist(record: Callable[[], Awaitable[bool]]) -> bool:
    """Write until the database takes it: what was sent and is not recorded would be sent again."""
    while True:
        try:
            return await record()
        except StoreUnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)
