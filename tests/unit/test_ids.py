"""Ids rise within a process, also within a millisecond and when the clock goes back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from ulid import ULID

from heliograph import ids
from heliograph.ids import new_id, short_id


def test_they_rise_by_the_thousand() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_they_are_ulids_of_now() -> None:
    before = ULID()
    made = new_id()
    assert str(ULID.from_str(made)) == made
    assert abs(ULID.from_str(made).timestamp - before.timestamp) < 5


def test_threads_do_not_share_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [
            identifier for part in pool.map(lambda _: [new_id() for _ in range(2000)], range(4)) for identifier in part
        ]
    assert len(set(made)) == 8000


def test_they_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id()
    monkeypatch.setattr(ids, "time_ns", lambda: 0)
    assert new_id() > before


def test_a_short_id_tells_jobs_of_one_minute_apart() -> None:
    made = [new_id() for _ in range(1000)]
    assert {len(short_id(identifier)) for identifier in made} == {8}
    assert len({short_id(identifier) for identifier in made}) == 1000
