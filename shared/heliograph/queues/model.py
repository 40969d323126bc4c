"""A pull queue: its rules, and what may be put into it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Once


class Delivery(StrEnum):
    """How often a job may be handed to an agent."""

    AT_LEAST_ONCE = "at_least_once"  # again after a lost lease, while attempts are left
    AT_MOST_ONCE = "at_most_once"  # a command to a telescope: once, whatever becomes of the agent


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds in a queue.

    ``parameters_schema`` is JSON Schema, None where anything goes. Without ``lease`` a claim is held until it is
    reported or released. ``roles`` are those that a submitter must have, all of them.
    """

    title: str
    parameters_schema: dict[str, Any] | None
    once: Once
    lease: timedelta | None
    delivery: Delivery
    max_attempts: int
    limits: Limits
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Queue(Rules):
    """A declared queue; ``revision`` changes with its schema."""

    name: str
    paused: bool
    declared_at: datetime
    declared_by: str
    revision: str


@dataclass(frozen=True, slots=True)
class Declaration(Rules):
    """The rules of a queue as somebody states them, all of them; ``paused`` as None leaves it as it is."""

    paused: bool | None = None
