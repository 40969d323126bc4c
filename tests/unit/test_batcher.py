"""Writes gather while one batch is in flight, keep their order, and bear nobody else's faults."""

import asyncio
from collections.abc import Sequence

import pytest

from heliograph.storage import Batcher, StoreUnavailableError, batch
from tests.parts.waiting import until

SMALL = 10


class Store:
    """Notes the batches that it gets; holds them back until it is open, and refuses some."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.in_flight = 0

    async def write(self, operations: Sequence[str]) -> Sequence[str | Exception]:
        assert not self.in_flight, "two batches in flight"
        self.in_flight += 1
        try:
            self.batches.append(list(operations))
            await self.open.wait()
            if any(operation.startswith("away") for operation in operations):
                raise StoreUnavailableError
            if any(operation.startswith("poison") for operation in operations):
                raise RuntimeError("the batch is refused")
            return [ValueError(one) if one.startswith("bad") else one.upper() for one in operations]
        finally:
            self.in_flight -= 1


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def batcher(store: Store) -> Batcher[str, str]:
    return Batcher(store.write)


async def gather(batcher: Batcher[str, str], *operations: str, size: int = SMALL) -> list[str | BaseException]:
    """Submit all at once; the first travels alone, the others gather behind it."""
    return await asyncio.gather(
        *(batcher.submit(operation, operation, size) for operation in operations), return_exceptions=True
    )


async def test_an_idle_one_waits_for_nothing(batcher: Batcher[str, str], store: Store) -> None:
    assert await batcher.submit("a", "a", SMALL) == "A"
    assert store.batches == [["a"]]


async def test_what_comes_meanwhile_goes_together(batcher: Batcher[str, str], store: Store) -> None:
    store.open.clear()
    first = asyncio.create_task(batcher.submit("a", "a", SMALL))
    await until(lambda: store.batches)
    others = asyncio.create_task(gather(batcher, "b", "c", "d"))
    await asyncio.sleep(0)
    store.open.set()
    assert await first == "A"
    assert await others == ["B", "C", "D"]
    assert store.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_is_bounded_in_number(
    batcher: Batcher[str, str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_OPERATIONS", 3)
    await gather(batcher, *"abcdefgh")
    assert [len(one) for one in store.batches] == [3, 3, 2]


async def test_a_batch_is_bounded_in_bytes_and_what_is_larger_goes_alone(
    batcher: Batcher[str, str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_BYTES", 25)
    await gather(batcher, *"abcd", size=10)
    await gather(batcher, *"ef", size=100)
    assert store.batches == [["a", "b"], ["c", "d"], ["e"], ["f"]]


async def test_two_of_one_key_go_in_order_and_not_together(store: Store) -> None:
    batcher: Batcher[str, str] = Batcher(store.write)
    await asyncio.gather(
        *(batcher.submit(operation[0], operation, SMALL) for operation in ("a1", "a2", "b1", "a3", "b2"))
    )
    assert store.batches == [["a1", "b1"], ["a2", "b2"], ["a3"]]


async def test_each_gets_its_own_outcome(batcher: Batcher[str, str]) -> None:
    good, bad, also_good = await gather(batcher, "a", "bad", "b")
    assert (good, also_good) == ("A", "B")
    assert isinstance(bad, ValueError)


async def test_one_that_spoils_its_batch_fails_alone(batcher: Batcher[str, str]) -> None:
    outcomes = await gather(batcher, *"abc", "poison", *"defg")
    assert isinstance(outcomes.pop(3), RuntimeError)
    assert outcomes == list("ABCDEFG")


async def test_an_outage_is_everybodys(batcher: Batcher[str, str], store: Store) -> None:
    assert all(isinstance(one, StoreUnavailableError) for one in await gather(batcher, "a", "away", "b"))
    assert len(store.batches) == 1
    assert await batcher.submit("c", "c", SMALL) == "C"


async def test_one_whose_caller_went_away_harms_nobody(batcher: Batcher[str, str], store: Store) -> None:
    store.open.clear()
    tasks = [asyncio.create_task(batcher.submit(key, key, SMALL)) for key in "abc"]
    await until(lambda: store.batches)
    tasks[1].cancel()
    store.open.set()
    await asyncio.wait(tasks)
    assert (tasks[0].result(), tasks[1].cancelled(), tasks[2].result()) == ("A", True, "C")
    assert await batcher.submit("d", "d", SMALL) == "D"
