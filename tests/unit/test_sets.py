"""What the states of many jobs amount to."""

import itertools

import pytest

from heliograph.jobs.sets import Tally
from heliograph.jobs.states import OVER, STATES, State

QUEUED, CLAIMED, RUNNING, DONE, FAILED, CANCELLED = State


@pytest.mark.parametrize(
    ("states", "amount"),
    [
        ((), DONE),
        ((DONE,), DONE), ((FAILED,), FAILED), ((CANCELLED,), CANCELLED), ((QUEUED,), QUEUED),
        ((RUNNING,), RUNNING), ((CLAIMED,), RUNNING),
        ((CLAIMED, QUEUED, DONE, FAILED, CANCELLED), RUNNING), ((RUNNING, FAILED), RUNNING),
        ((QUEUED, DONE), QUEUED), ((QUEUED, FAILED, CANCELLED), QUEUED),
        ((DONE, FAILED), FAILED), ((FAILED, CANCELLED, DONE), FAILED), ((DONE, CANCELLED), CANCELLED),
    ],
)  # fmt: skip
def test_the_state_of_a_set(states: tuple[State, ...], amount: State) -> None:
    assert Tally(dict.fromkeys(states, 3)).state is amount


def test_every_mixture_has_a_state_that_fits_it() -> None:
    for size in range(len(State) + 1):
        for mixture in itertools.combinations(State, size):
            tally = Tally(dict.fromkeys(mixture, 1))
            assert tally.is_over == all(STATES[state].over for state in mixture) == (tally.state in OVER)
            assert tally.state in mixture or (tally.state, mixture) == (DONE, ()) or CLAIMED in mixture


@pytest.mark.parametrize(
    ("counts", "total", "progress"),
    [({}, 0, 1.0), ({QUEUED: 4}, 4, 0.0), ({RUNNING: 1, DONE: 2, FAILED: 1}, 4, 0.75), ({CANCELLED: 5}, 5, 1.0)],
)
def test_the_progress_of_a_set_is_the_share_that_is_over(
    counts: dict[State, int], total: int, progress: float
) -> None:  # fmt: skip
    assert (Tally(counts).total, Tally(counts).progress) == (total, progress)
