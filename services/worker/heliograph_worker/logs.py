"""A job's output on its way from a pipe to its observer, in pieces, and never more than fits.

The first 256 KB are told while the job runs; of what follows, the last 256 KB are told at its end, after a line that
says how much was left out.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from heliograph.masking import MaskedStream

_log = structlog.get_logger(__name__)

CHUNK = 64 * 1024
HEAD = TAIL = 256 * 1024
_BATCH_SECONDS = 0.2
_BUDGET = 4 * 1024 * 1024  # per batch: what a job prints beyond 20 MB/s waits, so that it cannot take the event loop
_MASKED_AT_ONCE = 4 * 1024  # bytes; the search takes up to 10 ms
_BUDGET_OF_SECOND = (
    _BUDGET / _BATCH_SECONDS * 10
)  # of a job with secrets: the search for them takes a tenth of the loop


class CappedLog:
    """The bytes of a log: its head as it comes, its tail at the end. Holds at most ``head`` and twice ``tail``."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self._head_left = head
        self._tail_most = tail
        self._ready = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    @property
    def ready(self) -> int:
        """How many bytes ``take`` would find."""
        return len(self._ready)

    def add(self, data: bytes) -> None:
        """Take in what was printed."""
        head = data[: self._head_left]
        self._ready += head
        self._head_left -= len(head)
        self._tail += data[len(head) :]
        if len(self._tail) > 2 * self._tail_most:  # seldom, for each cut moves the tail
            self._cut()

    def take(self, most: int = CHUNK) -> bytes:
        """Return, once, the next bytes that may be told."""
        taken = bytes(self._ready[:most])
        del self._ready[:most]
        return taken

    def close(self) -> None:
        """Let ``take`` go on with the tail, after a line about what was left out."""
        self._cut()
        if self._left_out:
            self._ready += f"\n[{self._left_out:,} bytes left out here]\n".encode()
        self._ready += self._tail
        self._tail.clear()

    def _cut(self) -> None:
        excess = max(0, len(self._tail) - self._tail_most)
        del self._tail[:excess]
        self._left_out += excess


class LogReader:
    """Reads a job's pipe and hands its bytes on about five times a second."""

    def __init__(
        self, pipe: int, deliver: Callable[[bytes], Awaitable[None]], mask: MaskedStream | None = None
    ) -> None:  # fmt: skip
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._deliver = deliver
        self._mask = mask
        self._log = CappedLog()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._budget = _BUDGET
        self._listens = self._over = self._closing = False
        self._delivery: asyncio.Task[None] | None = None  # many jobs print nothing
        self._listen()

    async def finish(self) -> None:
        """Read what is in the pipe, hand everything on, and close."""
        self._closing = True
        self._deafen()
        for _ in range(_BUDGET // CHUNK):  # a bound, for a process that escaped may go on printing
            if not self._read():
                break
        if self._mask:
            self._log.add(self._mask.close())
        self._log.close()
        try:
            if self._delivery or self._log.ready:
                self._tell_of_arrival()
                self._full.set()
                assert self._delivery
                await self._delivery
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without handing on what is left; nothing more to do after ``finish``."""
        if self._delivery:
            self._delivery.cancel()
        self._deafen()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _listen(self) -> None:
        if not self._listens and not self._over and not self._closing:
            asyncio.get_running_loop().add_reader(self._pipe, self._readable)
            self._listens = True

    def _deafen(self) -> None:
        if self._listens:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._listens = False

    def _readable(self) -> None:
        read = self._read()
        self._budget -= read
        if self._over or self._budget <= 0:
            self._deafen()
        if read:
            self._tell_of_arrival()
        if self._log.ready >= CHUNK:
            self._full.set()

    def _tell_of_arrival(self) -> None:
        self._arrived.set()
        if self._delivery is None:
            self._delivery = asyncio.create_task(self._deliver_pieces())

    def _read(self) -> int:
        """Read once; return how much. All writers having closed, it is over."""
        try:
            data = os.read(self._pipe, _MASKED_AT_ONCE if self._mask else CHUNK)
        except BlockingIOError:
            return 0
        self._over = not data
        if self._mask:
            began = time.monotonic()
            data = self._mask.feed(data)  # before it is cut
            self._budget -= int((time.monotonic() - began) * _BUDGET_OF_SECOND)
        self._log.add(data)
        return len(data)

    async def _deliver_pieces(self) -> None:
        while True:
            await self._arrived.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_BATCH_SECONDS):
                    await self._full.wait()
            self._arrived.clear()
            self._full.clear()
            closing = self._closing  # asked before the pieces, for ``finish`` may come while one is told
            while piece := self._log.take():
                await self._tell(piece)
            if closing:
                return
            self._budget = _BUDGET
            self._listen()

    async def _tell(self, piece: bytes) -> None:
        try:
            await self._deliver(piece)
        except Exception as error:  # noqa: BLE001 - an observer's trouble with a log does not fail the job
            _log.warning("log.untold", bytes=len(piece), exc_info=error)
