"""Which attempts at a job print no more, and which was the last."""

from datetime import UTC, datetime

import pytest

from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph_api.following import is_last, is_over

QUEUED, CLAIMED, RUNNING, DONE, CANCELLED = (
    State.QUEUED, State.CLAIMED, State.RUNNING, State.DONE, State.CANCELLED,
)  # fmt: skip


def a_job(state: State, series: int, attempt: int) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=new_id(), queue="sum", owner="ada", state=state, series=series, seq=9, attempt=attempt, max_attempts=3,
        priority=0, parameters={}, created_at=now, updated_at=now,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "series", "attempt", "followed", "over", "last"),
    [
        (QUEUED, 1, 0, (1, 1), False, False),  # not begun
        (CLAIMED, 1, 1, (1, 1), False, False),
        (RUNNING, 1, 1, (1, 1), False, False),
        (QUEUED, 1, 1, (1, 1), True, False),  # to be tried again
        (QUEUED, 1, 1, (1, 2), False, False),  # not begun, or handed back
        (RUNNING, 1, 2, (1, 1), True, False),
        (RUNNING, 1, 2, (1, 2), False, False),
        (DONE, 1, 2, (1, 1), True, False),
        (DONE, 1, 2, (1, 2), True, True),
        (CANCELLED, 1, 0, (1, 1), True, True),  # never begun
        (QUEUED, 2, 0, (1, 2), True, False),  # run once more: of the series before, a third may have been made
        (RUNNING, 2, 1, (1, 3), True, True),
        (RUNNING, 1, 1, (2, 1), False, False),  # a series that is still to come
        (DONE, 1, 1, (2, 1), True, True),
    ],
)
def test_an_attempt_is_over_and_is_the_last(
    state: State, series: int, attempt: int, followed: tuple[int, int], *, over: bool, last: bool
) -> None:
    job = a_job(state, series, attempt)
    assert is_over(job, *followed) is over
    assert is_last(job, *followed) is last
