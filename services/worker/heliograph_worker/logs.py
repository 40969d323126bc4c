"""A job's output on its way from a pipe to its observer, in pieces, and never more than fits.

The first 256 KB are told while the job runs; of what follows, the last 256 KB are told at its end, after a line that
says how much was left out.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

_log = structlog.get_logger(__name__)

CHUNK = 64 * 1024
HEAD = TAIL = 256 * 1024
_BATCH_SECONDS = 0.2
_BUDGET = 4 * 1024 * 1024  # per batch: what a job prints beyond 20 MB/s waits, so that it cannot take the event loop


class CappedLog:
    """The bytes of a log: its head as it comes, its tail at the end. Holds at most ``head + tail`` and a chunk."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self._head_left = head
        self._tail_most = tail
        self._ready = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0

    @property
    def ready(self) -> int:
        """How many bytes ``take`` would find."""
        return len(self._ready)

    def add(self, data: bytes) -> None:
        """Take in what was printed."""
        head, rest = data[: self._head_left], data[self._head_left :]
        self._ready += head
        self._head_left -= len(head)
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) >= self._tail_most:
                self._drop(len(self._tail[0]))

    def take(self, most: int = CHUNK) -> bytes:
        """Return, once, the next bytes of the head."""
        taken = bytes(self._ready[:most])
        del self._ready[:most]
        return taken

    def close(self) -> None:
        """Make the tail, with the line before it, the rest of what ``take`` gives."""
        if self._tail_size > self._tail_most:
            self._drop(self._tail_size - self._tail_most)
        if self._left_out:
            self._ready += f"\n[{self._left_out:,} bytes left out here]\n".encode()
        for part in self._tail:
            self._ready += part
        self._tail.clear()
        self._tail_size = 0

    def _drop(self, size: int) -> None:
        first = self._tail.popleft()
        if size < len(first):
            self._tail.appendleft(first[size:])
        self._tail_size -= size
        self._left_out += size


class LogReader:
    """Reads a job's pipe and hands its bytes on about five times a second."""

    def __init__(self, pipe: int, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._deliver = deliver
        self._log = CappedLog()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._budget = _BUDGET
        self._listens = False
        self._listen()
        self._closing = False
        self._delivery = asyncio.create_task(self._deliver_while_open())

    async def finish(self) -> None:
        """Read what is in the pipe, hand everything on, and close."""
        self._closing = True
        self._deafen()
        for _ in range(_BUDGET // CHUNK):  # a bound, for a process that escaped may go on printing
            if not self._read():
                break
        self._log.close()
        self._arrived.set()
        self._full.set()
        try:
            await self._delivery
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without handing on what is left. Harmless after ``finish``."""
        self._delivery.cancel()
        self._deafen()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _listen(self) -> None:
        if not self._listens:
            asyncio.get_running_loop().add_reader(self._pipe, self._readable)
            self._listens = True

    def _deafen(self) -> None:
        if self._listens:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._listens = False

    def _readable(self) -> None:
        size = self._read()
        self._budget -= size
        if not size or self._budget <= 0:
            self._deafen()
        self._arrived.set()
        if self._log.ready >= CHUNK or self._budget <= 0:
            self._full.set()

    def _read(self) -> int:
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return 0
        self._log.add(data)
        return len(data)

    async def _deliver_while_open(self) -> None:
        while not self._closing:
            await self._arrived.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), _BATCH_SECONDS)
            ...
