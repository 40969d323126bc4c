"""Many things at a time, but not all of them."""

import asyncio

import pytest

from heliograph.abreast import abreast


@pytest.mark.parametrize(("count", "most"), [(0, 3), (2, 3), (10, 3), (10, 1)])
async def test_so_many_at_a_time_and_the_outcomes_in_order(count: int, most: int) -> None:
    under_way: set[int] = set()
    seen = []

    async def act(number: int) -> int:
        under_way.add(number)
        seen.append(len(under_way))
        await asyncio.sleep(0.001 * (number % 3))
        under_way.remove(number)
        return number * number

    assert await abreast(act, range(count), most=most) == [number * number for number in range(count)]
    assert max(seen, default=0) == min(count, most)


async def test_the_first_error_ends_it() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def act(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError(number)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="1"):
        await abreast(act, range(10), most=3)
    assert (begun, sorted(ended)) == ([0, 1, 2], [0, 2])


async def test_who_is_cancelled_leaves_nothing_under_way() -> None:
    ended: list[int] = []

    async def act(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    task = asyncio.create_task(abreast(act, range(10), most=4))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2, 3]
