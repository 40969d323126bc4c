"""Something that happens once, and that can be waited for beside a task without a further task for the wait."""

import asyncio
from datetime import timedelta
from typing import Any


class Latch:
    """Set once; made in a running event loop."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        """Let go who waits, now and from now on."""
        if not self._future.done():
            self._future.set_result(None)

    def is_set(self) -> bool:
        """Say whether it has happened."""
        return self._future.done()

    async def or_done(self, work: asyncio.Task[Any], limit: timedelta | None = None) -> bool:
        """Wait for ``work``, but no longer than until this is set or ``limit``; return whether it has ended."""
        seconds = None if limit is None else limit.total_seconds()
        await asyncio.wait({work, self._future}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return work.done()
