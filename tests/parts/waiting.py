"""Waiting for a condition that nothing announces."""

import asyncio
import inspect
from collections.abc import Callable

# Between two looks, at first and once it takes longer. A look at the database is 2 ms of computing; at a hundred a
# second, who waits takes a fifth of a core from what is waited for.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.1
_GROWTH = 1.1  # the longest is reached after a second


async def until(holds: Callable[[], object], *, within_seconds: float = 60.0) -> None:
    """Return once ``holds()`` is true, or its awaited result; ``TimeoutError`` where that takes too long."""
    pause = _PAUSE_SECONDS
    async with asyncio.timeout(within_seconds):
        while True:
            answer = holds()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
