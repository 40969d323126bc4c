"""The table of states, against what the design says of each."""

import itertools

import pytest

from heliograph.jobs.states import ACTIVE, HELD, OVER, STATES, TOLD, State, sources

QUEUED, CLAIMED, RUNNING, DONE, FAILED, CANCELLED = State
ENDS = {DONE, FAILED, CANCELLED}

AFTER = {
    QUEUED: {CLAIMED, RUNNING} | ENDS,
    CLAIMED: {RUNNING, QUEUED} | ENDS,
    RUNNING: {RUNNING, QUEUED} | ENDS,
    DONE: {QUEUED},
    FAILED: {QUEUED},
    CANCELLED: {QUEUED},
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_what_may_follow(before: State, after: State) -> None:
    assert (after in STATES[before].after) is (after in AFTER[before])


def test_every_state_has_a_row_and_is_either_active_or_over() -> None:
    assert set(STATES) == set(State)
    assert sorted(ACTIVE + OVER) == sorted(State)
    assert set(OVER) == set(TOLD) == ENDS
    assert set(HELD) == {CLAIMED, RUNNING}


@pytest.mark.parametrize("target", list(State))
def test_where_a_state_may_be_reached_from_within_a_series(target: State) -> None:
    assert set(sources(target)) == {state for state in ACTIVE if target in AFTER[state]}


def test_only_a_reopening_leaves_what_is_over() -> None:
    assert set(sources(QUEUED, reopen=True)) == ENDS
    assert all(sources(target, reopen=True) == () for target in State if target is not QUEUED)


def test_it_says_what_each_means() -> None:
    assert all(row.meaning for row in STATES.values())
