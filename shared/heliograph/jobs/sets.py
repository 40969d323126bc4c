"""Sets of jobs, such as a group or what descends from a job: what many states amount to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from heliograph.jobs.states import HELD, OVER, State

# Of a set that is over, the first of these that any of its jobs ended in.
_WORST_FIRST = (State.FAILED, State.CANCELLED, State.DONE)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs of a set are in each state; a state that is left out counts none."""

    by_state: Mapping[State, int]

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.by_state.values())

    @property
    def progress(self) -> float:
        """The share that is over, 0 to 1; of no jobs, 1."""
        return self.over / self.total if self.total else 1.0

    @property
    def over(self) -> int:
        """How many are over."""
        return self._in(OVER)

    @property
    def is_over(self) -> bool:
        """Whether all are over."""
        return self.over == self.total

    @property
    def state(self) -> State:
        """What the states amount to: work in progress goes before waiting, and that before the worst of the ends.

        Of no jobs, ``done``: there is nothing left to do.
        """
        if self._in(HELD):
            return State.RUNNING
        if self._in((State.QUEUED,)):
            return State.QUEUED
        return next((state for state in _WORST_FIRST if self._in((state,))), State.DONE)

    def _in(self, states: tuple[State, ...]) -> int:
        return sum(self.by_state.get(state, 0) for state in states)


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed, and why."""

    id: str
    name: str | None
    message: str | None
    is_confidential: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs of a group from some moment on; ``ended_at`` is the last end, None where none ended."""

    tally: Tally
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """What a group amounts to. ``ended_at`` is when the last of its jobs ended, None while one is not over."""

    name: str
    tally: Tally
    created_at: datetime
    ended_at: datetime | None
    failed: tuple[FailedJob, ...] = field(default=())
