"""A channel's line: leases what is due a few ahead, and keeps its workers busy with it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from heliograph import faults
from heliograph.channels import Channel
from heliograph.notices.store import Leased, Ledger
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.attempts import Attempts, Ended
from heliograph_notifier.rest import Rest

_log = structlog.get_logger()

POLL_SECONDS = 1.0  # what another process planned, and what has become due, is seen after this
PAUSE_SECONDS = 0.5  # while the database is away


class Line:
    """Sends over one channel with several workers, each one delivery at a time.

    Whichever worker finds nothing to do leases for all of them in one go, while the others are still sending: no more
    is ever leased and not begun than there are workers. What could not be begun in time, or comes up while the channel
    rests, is given back.
    """

    def __init__(self, ledger: Ledger, channel: Channel, attempts: Attempts, rest: Rest, *, workers: int) -> None:
        self._ledger = ledger
        self._channel = channel
        self._attempts = attempts
        self._rest = rest
        self._workers = workers
        self._ahead: deque[Leased] = deque()
        self._taking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._is_stopping = False

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
            for number in range(self._workers):
                group.create_task(self._work(group), name=f"sender-{self._channel.name}-{number}")

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while leased := await self._next():
            faults.reach(faults.Point.SENDING_NOT_SENT)
            ended = await self._attempts.make(leased)
            group.create_task(_record(leased, ended))  # the worker goes on meanwhile

    async def _next(self) -> Leased | None:
        """Return what to send next; None once the line is stopped."""
        async with self._taking:
            while True:
                while self._ahead:
                    leased = self._ahead.popleft()
                    if not self._is_stopping and self._is_open and self._attempts.fits(leased):
                        return leased
                    await _insist(partial(self._ledger.release, leased))
                if self._is_stopping:
                    return None
                await self._lease()

    async def _lease(self) -> None:
        self._wake.clear()
        try:
            if self._is_open:
                self._ahead.extend(await self._ledger.lease(self._channel.name, self._workers))
        except StoreUnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)
            return
        if not self._ahead and not self._is_stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

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
