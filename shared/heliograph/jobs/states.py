"""The states of a job, as one table.

Everything that depends on a state (which moves are legal, what is told to people, what the metrics and the documents
list) is read from ``STATES``; nothing else enumerates states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ErrorKind(StrEnum):
    """Why a job did not end well."""

    USAGE = "usage"  # the request was wrong; the same request fails again
    TRANSIENT = "transient"  # something passed went wrong; the same request may succeed
    FATAL = "fatal"  # the backend failed in a way that a repeat does not mend
    TIMEOUT = "timeout"  # it ran longer than it may
    LOST = "lost"  # its worker disappeared more often than the job allows
    CANCELLED = "cancelled"  # somebody asked for it to stop
    EXPIRED = "expired"  # it was not begun before its ``start_before``


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    ``after`` lists the states that may follow; ``held`` says that somebody holds a lease; ``over`` that the series
    has ended, which only *reopen* undoes; ``told`` that people are told of it (``queued`` is told at the start of a
    series only, ``running`` after a long wait only, which the change of state itself says).
    """

    meaning: str
    after: frozenset[State]
    held: bool = False
    over: bool = False
    told: bool = False


_ENDS = frozenset({State.DONE, State.FAILED, State.CANCELLED})

STATES: Mapping[State, Row] = MappingProxyType(
    {
        State.QUEUED: Row("stored, waiting", _ENDS | {State.CLAIMED, State.RUNNING}),
        State.CLAIMED: Row(
            "an agent holds a lease and has not begun", _ENDS | {State.QUEUED, State.RUNNING}, held=True
        ),
        State.RUNNING: Row("at work", _ENDS | {State.QUEUED, State.RUNNING}, held=True),
        State.DONE: Row("over, with a result", frozenset({State.QUEUED}), over=True, told=True),
        State.FAILED: Row("over, with an error", frozenset({State.QUEUED}), over=True, told=True),
        State.CANCELLED: Row("over, stopped on request", frozenset({State.QUEUED}), over=True, told=True),
    }
)

OVER = tuple(state for state, row in STATES.items() if row.over)
ACTIVE = tuple(state for state, row in STATES.items() if not row.over)
HELD = tuple(state for state, row in STATES.items() if row.held)
TOLD = tuple(state for state, row in STATES.items() if row.told)


def sources(target: State, *, reopen: bool = False) -> tuple[State, ...]:
    """Return the states from which ``target`` may be reached, within a series or, for ``reopen``, into the next."""
    return tuple(state for state, row in STATES.items() if target in row.after and row.over is reopen)
