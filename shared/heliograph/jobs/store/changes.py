"""The one builder of changes of state.

A change is one conditional update of one document. It mints the next ``seq`` itself and uses it in the history entry,
in the outgoing event and in the note that people are to be told, so that none of them can exist without the others.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.ids import new_token
from heliograph.jobs.model import JobError, Once
from heliograph.jobs.states import TOLD, ErrorKind, State, sources
from heliograph.jobs.store.documents import error_document
from heliograph.jobs.store.expressions import (
    IS_CANCELLED,
    IS_HELD,
    IS_OVER,
    IS_QUEUED,
    NOW,
    REMOVE,
    TARGET,
    Expression,
    after,
    literal,
    when,
)
from heliograph.storage import encoded

HISTORY_KEPT = 200
LONG_WAIT_MILLISECONDS = 300_000  # who waited less learns nothing new from the start
CANCELLED = literal(error_document(JobError(ErrorKind.CANCELLED, "cancelled on request")))
EXPIRED = literal(error_document(JobError(ErrorKind.EXPIRED, "it was not begun in time")))

# What belongs to one series, gone when the next one begins.
_OF_SERIES = (
    "result", "error", "artifacts", "started_at", "message", "not_before", "start_before", "cancel_requested_by",
    "remembered", "reported", "waits_for", "begun_before",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Where a change leads: the states it may lead to, and the expression that chooses among them."""

    states: tuple[State, ...]
    expression: Expression


def to(state: State) -> Target:
    """Return the target of a change that leads to one state, whatever the job says."""
    return Target((state,), literal(state.value))


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """A change to be made: who makes it, where it leads, and the fields it sets (as expressions).

    ``id`` stays in the history: a change whose answer was lost is repeated under the same id and recognised.
    """

    by: str
    target: Target
    fields: Mapping[str, Expression] = field(default_factory=dict)
    starts_series: bool = False
    id: str = field(default_factory=new_token)

    def condition(self, where: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``where``, which names the states to leave, and "this change is not made yet".

        Raises
        ------
        ValueError
            The table of states does not know such a move: a defect of the caller.
        """
        named = where["state"]
        leaving = {State(named)} if isinstance(named, str) else set(named["$in"])
        for state in self.target.states:
            if unknown := leaving - set(sources(state, reopen=self.starts_series)):
                raise ValueError(f"no job goes from {', '.join(sorted(unknown))} to {state}")
        return {**where, "history.id": {"$ne": self.id}}

    def pipeline(self) -> list[Mapping[str, Any]]:
        """Return the update."""
        return [
            {"$set": {"_target": self.target.expression, "_change": {"id": literal(self.id), "by": literal(self.by)}}},
            {"$set": {
                "state": TARGET,
                "seq": {"$add": ["$seq", 1]},
                "updated_at": NOW,
                "ended_at": when(IS_OVER, NOW, REMOVE),
                "expires_at": when(
                    {"$and": [IS_OVER, {"$gt": ["$retention_ms", 0]}]}, after("$retention_ms"), REMOVE
                ),
                "lease": when(IS_HELD, "$lease", REMOVE),
                "slots": when(IS_HELD, "$slots", REMOVE),  # a slot lasts as long as the lease, whoever ends that
                "once_key": when(
                    {"$and": [IS_OVER, {"$eq": ["$once.while", literal(Once.ACTIVE.value)]}]}, REMOVE, "$once_key"
                ),
                "eta_seconds": when(IS_HELD, "$eta_seconds", REMOVE),
                "progress": when(IS_QUEUED, REMOVE, "$progress"),
                "stage": when(IS_QUEUED, REMOVE, "$stage"),
                **self.fields,
            }},
            _recording(starts_series=self.starts_series),
            _LAST_STAGE,
        ]  # fmt: skip


# The start of the first attempt at a job that had waited: what it was before is the last entry of its history.
_QUEUED = {"$filter": {"input": "$history", "cond": {"$eq": ["$$this.state", State.QUEUED.value]}}}
_BEGUN_AFTER_LONG_WAIT = {"$and": [
    {"$eq": ["$state", State.RUNNING.value]},
    {"$eq": ["$attempt", 1]},
    {"$in": [{"$last": "$history.state"}, [State.QUEUED.value, State.CLAIMED.value]]},
    {"$gt": [{"$subtract": [NOW, {"$last": {"$map": {"input": _QUEUED, "in": "$$this.at"}}}]}, LONG_WAIT_MILLISECONDS]},
]}  # fmt: skip


@functools.cache
def _recording(*, starts_series: bool) -> Mapping[str, Any]:
    """Return the stage that writes down the change: alike for all changes, and encoded once."""
    told_states = [*TOLD, State.QUEUED] if starts_series else list(TOLD)
    is_worth_telling = {"$or": [{"$in": ["$state", literal(told_states)]}, _BEGUN_AFTER_LONG_WAIT]}
    told = {"$and": [is_worth_telling, {"$ne": ["$notify.told", literal(False)]}]}
    # A job that stops on somebody's wish was stopped by them, not by its holder.
    wished = {"$and": [{"$eq": ["$state", State.CANCELLED.value]}, "$cancel_requested"]}
    author = when(wished, {"$ifNull": ["$cancel_requested_by", "$_change.by"]}, "$_change.by")
    entry = {
        "id": "$_change.id", "seq": "$seq", "series": "$series", "at": NOW, "state": "$state", "stage": "$stage",
        "message": "$message", "by": author,
    }  # fmt: skip
    history = {"$concatArrays": ["$history", [entry]]}
    due = [{"seq": "$seq", "at": NOW}]
    return encoded({"$set": {
        "history": {"$slice": [history, -HISTORY_KEPT]},
        "outbox": {"$concatArrays": ["$outbox", [{**entry, "attempt": "$attempt", "told": told}]]},
        "notices_due": when(told, {"$concatArrays": ["$notices_due", due]}, "$notices_due"),
    }})  # fmt: skip


_LAST_STAGE = encoded({"$unset": ["_target", "_change"]})


def end_or_requeue(error: JobError | None, wait_milliseconds: int = 0) -> tuple[Target, dict[str, Expression]]:
    """Return the target, and the fields, of a job that lost its attempt to ``error`` and may have another.

    ``cancelled`` where somebody wished so, ``queued`` while attempts are left, else ``failed``. Without an error it was
    handed back: that costs no attempt, so one is always left.
    """
    has_attempts = {"$lt": ["$attempt", "$max_attempts"]} if error else literal(True)
    choice = {"$switch": {
        "branches": [
            {"case": "$cancel_requested", "then": State.CANCELLED.value},
            {"case": has_attempts, "then": State.QUEUED.value},
        ],
        "default": State.FAILED.value,
    }}  # fmt: skip
    fields = {
        "error": when(IS_CANCELLED, CANCELLED, literal(error_document(error)) if error else REMOVE),
        "due": when(IS_OVER, True, literal(wait_milliseconds == 0)),
        "not_before": when(IS_OVER, "$not_before", after(literal(wait_milliseconds))),
        "stage": REMOVE,
    }
    if error is None:
        fields["attempt"] = {"$subtract": ["$attempt", when(IS_QUEUED, 1, 0)]}
    return Target((State.CANCELLED, State.QUEUED, State.FAILED), choice), fields


def reopening(by: str) -> ChangePlan:
    """Return the change that starts a new series of a job that is over."""
    fields = dict.fromkeys(_OF_SERIES, REMOVE) | {
        "series": {"$add": ["$series", 1]}, "attempt": literal(0), "cancel_requested": literal(False),
        "due": literal(True), "once_key": {"$ifNull": ["$once_key", "$once.key"]},
    }  # fmt: skip
    return ChangePlan(by, to(State.QUEUED), fields, starts_series=True)
