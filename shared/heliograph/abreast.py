"""Doing many things at a time, but not all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


async def abreast(act: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item], *, most: int) -> list[Outcome]:
    """Do ``act`` with each item, at most so many at a time, and return the outcomes in the items' order.

    The first error ends it: what is under way is cancelled and awaited, what has not begun stays undone.
    """
    todo = list(items)
    outcomes: dict[int, Outcome] = {}
    numbers = iter(range(len(todo)))

    async def work() -> None:
        for number in numbers:
            outcomes[number] = await act(todo[number])

    tasks = [asyncio.create_task(work()) for _ in range(min(most, len(todo)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [outcomes[number] for number in range(len(todo))]
