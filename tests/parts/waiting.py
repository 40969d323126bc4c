"""Waiting for a condition that nothing announces."""

import asyncio
import inspect
from collections.abc import Callable

PAUSE_SECONDS = 0.01


async def until(holds: Callable[[], object], *, within_seconds: float = 30.0) -> None:
    """Return once ``holds()`` is true, or its awaited result; ``TimeoutError`` where that takes too long."""
    async with asyncio.timeout(within_seconds):
        while True:
            answer = holds()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(PAUSE_SECONDS)
