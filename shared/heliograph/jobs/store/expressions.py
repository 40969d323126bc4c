"""The few aggregation expressions that changes are made of.

A value from outside enters an expression through ``literal`` alone: elsewhere a string that begins with ``$`` would
be read as a field.
"""

from typing import Any

from heliograph.jobs.states import HELD, OVER, State

Expression = Any

NOW = "$$NOW"  # the server's clock; exists in pipelines and $expr only
REMOVE = "$$REMOVE"  # the field is left out
TARGET = "$_target"  # the state that the change under way leads to


def literal(value: Any) -> Expression:
    """Return ``value`` as itself."""
    return {"$literal": value}


def when(condition: Expression, then: Expression, otherwise: Expression) -> Expression:
    """Return ``then`` where ``condition`` holds, else ``otherwise``."""
    return {"$cond": [condition, then, otherwise]}


def after(milliseconds: Expression) -> Expression:
    """Return the moment so many milliseconds from now."""
    return {"$add": [NOW, milliseconds]}


def is_past(field: str) -> Expression:
    """Whether the date at ``field`` is past. Null and missing compare as less, so the field must be a date as well."""
    return {"$and": [{"$eq": [{"$type": field}, "date"]}, {"$lt": [field, NOW]}]}


IS_QUEUED = {"$eq": [TARGET, literal(State.QUEUED.value)]}
IS_CANCELLED = {"$eq": [TARGET, literal(State.CANCELLED.value)]}
IS_OVER = {"$in": [TARGET, literal(list(OVER))]}
IS_HELD = {"$in": [TARGET, literal(list(HELD))]}
