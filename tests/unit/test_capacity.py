"""What a worker may take on next."""

import pytest

from heliograph_worker.capacity import Capacity, Room

QUEUES = ("fit", "plot")


def busy(slots: int, *backends: str, per_backend: dict[str, int] | None = None) -> Capacity:
    capacity = Capacity(slots, per_backend or {})
    for number, backend in enumerate(backends):
        capacity.begin(f"token-{number}", f"job-{number}", backend)
    return capacity


def test_anything_while_a_slot_is_free() -> None:
    assert busy(2, "fit").room(QUEUES) == Room(QUEUES, places=1)
    assert busy(8, "fit").room(QUEUES) == Room(QUEUES, places=7)


def test_nothing_without_a_slot() -> None:
    assert busy(2, "fit", "plot").room(QUEUES) is None


def test_nothing_of_a_backend_that_has_its_share() -> None:
    assert busy(4, "fit", per_backend={"fit": 1}).room(QUEUES) == Room(("plot",), places=3)
    assert busy(4, "fit", per_backend={"fit": 1}).room(("fit",)) is None


def test_a_job_that_waits_lends_its_slot_to_its_descendants_alone() -> None:
    capacity = busy(1, "fit")
    assert capacity.wait("token-0", waits=True)
    assert capacity.room(QUEUES) == Room(QUEUES, below=("job-0",))
    capacity.begin("token-1", "child", "plot")
    assert capacity.room(QUEUES) is None
    assert capacity.wait("token-1", waits=True)
    assert capacity.room(QUEUES) == Room(QUEUES, below=("job-0", "child"))


def test_it_takes_the_slot_back_when_it_goes_on_or_ends() -> None:
    capacity = busy(1, "fit")
    capacity.wait("token-0", waits=True)
    assert capacity.wait("token-0", waits=False)
    assert capacity.room(QUEUES) is None
    capacity.wait("token-0", waits=True)
    capacity.end("token-0")
    assert capacity.room(QUEUES) == Room(QUEUES)
    assert len(capacity) == 0


def test_the_first_after_a_pause_is_claimed_alone() -> None:
    assert busy(8).room(QUEUES) == Room(QUEUES, places=1)


def test_waiting_is_news_once() -> None:
    capacity = busy(1, "fit")
    assert [capacity.wait("token-0", waits=waits) for waits in (True, True, False, False)] == [True, False, True, False]
    assert not capacity.wait("gone", waits=True)


def test_of_a_backend_with_a_share_what_is_left_of_that() -> None:
    assert busy(8, "fit", per_backend={"fit": 3}).room(QUEUES) == Room(QUEUES, places=7, shares={"fit": 2})


@pytest.mark.parametrize(("seconds", "ahead"), [(60, 0), (0.1, 1), (0.01, 10), (0.0001, 32)])
def test_short_jobs_are_claimed_ahead_of_a_free_slot(seconds: float, ahead: int) -> None:
    capacity = after_one_of(seconds)
    room = capacity.room(QUEUES)
    assert (room.places if room else 0) == ahead


def test_once_ahead_it_claims_several_or_none() -> None:
    capacity = after_one_of(0.01)
    for number in range(6):
        capacity.begin(f"next-{number}", "job", "fit")
    assert capacity.room(QUEUES) is None  # 4 of 10
    capacity.end("next-0")
    assert capacity.room(QUEUES) == Room(QUEUES, places=5)


def test_nothing_is_claimed_ahead_while_a_job_waits_for_its_children() -> None:
    capacity = after_one_of(0.001)
    capacity.wait("token-0", waits=True)
    assert capacity.room(QUEUES) == Room(QUEUES, below=("job-0",))


def test_nothing_is_claimed_ahead_of_a_slot_that_a_long_job_has() -> None:
    now = 100.0
    capacity = Capacity(2, {}, clock=lambda: now)
    for token in ("short", "long", "longer"):
        capacity.begin(token, "job", "fit")
    capacity.has_slot("short")
    now += 0.01
    capacity.end("short")
    capacity.has_slot("long")
    capacity.has_slot("longer")
    assert capacity.room(QUEUES) == Room(QUEUES, places=10)
    now += 60
    assert capacity.room(QUEUES) is None


def after_one_of(seconds: float) -> Capacity:
    """Return that of a full worker of two slots where a job has just ended after so long."""
    now = 100.0
    capacity = Capacity(2, {}, clock=lambda: now)
    for number in range(3):
        capacity.begin(f"token-{number}", f"job-{number}", "fit")
    capacity.has_slot("token-2")
    now += seconds
    capacity.end("token-2")
    return capacity
