"""How handlers are run: in tasks that are the bus's own, so that a lost connection never cuts one off in the middle."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog

from heliograph.backoff import Backoff

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

REDELIVERY = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))  # ten tries take about 20 s
INBOX_LIMIT = 10_000  # events of about 1 kB: what a live view that is far behind may hold before it loses some


class Running:
    """The handlers that run now."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Run ``work`` in a task; it must not raise."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finished(self) -> None:
        """Return once nothing runs any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)


class Inbox(Generic[_T]):
    """Hands items to a handler one after another, in their order; what the handler raises is logged.

    Nobody waits for an inbox: one that is full loses what comes, and says so once until it has room again.
    """

    def __init__(self, handler: Callable[[_T], Awaitable[None]]) -> None:
        self._handler = handler
        self._items: asyncio.Queue[_T | None] = asyncio.Queue()
        self._is_overrun = False
        self._task = asyncio.create_task(self._hand_over())

    def put(self, item: _T) -> None:
        """Add an item; never waits."""
        if self._items.qsize() >= INBOX_LIMIT:
            if not self._is_overrun:
                _log.warning("a feed handler is too slow; events pass it by", waiting=INBOX_LIMIT)
            self._is_overrun = True
            return
        self._is_overrun = False
        self._items.put_nowait(item)

    async def close(self) -> None:
        """Let the running handler finish; what waits is dropped."""
        while not self._items.empty():
            self._items.get_nowait()
        self._items.put_nowait(None)
        await asyncio.wait({self._task})

    async def _hand_over(self) -> None:
        while (item := await self._items.get()) is not None:
            try:
                await self._handler(item)
            except Exception:  # noqa: BLE001 - one bad event must not end the view; it is logged
                _log.exception("a feed handler failed; the feed goes on")


def call_safely(handler: Callable[[str], None], value: str) -> None:
    """Call the handler of a hint or a wish; what it raises is logged, since nobody could act on it."""
    try:
        handler(value)
    except Exception:  # noqa: BLE001 - it is logged; there is nobody to tell
        _log.exception("a handler of hints or wishes failed", value=value)


async def persist(handle: Callable[[], Awaitable[None]], redelivery: Backoff, ending: asyncio.Event) -> bool:
    """Call a handler of dead letters until it returns; return whether it did before ``ending`` was set."""
    failures = 0
    while not ending.is_set():
        try:
            await handle()
        except Exception as error:  # noqa: BLE001 - whatever it is, the dead letter has not been taken
            failures += 1
            _log.warning("a dead letter was not taken", failures=failures, exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(redelivery.wait(failures).total_seconds()):
                    await ending.wait()
        else:
            return True
    return False
