"""Tasks that live as long as their service."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)
_failures: list[str] = []


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the block, and end it on the way out.

    If it fails, that is a defect without which the service would look alive and do half of its work: it is logged,
    and the process is told to stop, for its supervisor to start it anew.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_on_end)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def exit_code() -> int:
    """Return what the process ends with: 1 where a part of it failed, so that its supervisor starts it anew."""
    return 1 if _failures else 0


def _on_end(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error:
        _failures.append(task.get_name())
        _log.error("a part of the service failed: it stops", part=task.get_name(), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
