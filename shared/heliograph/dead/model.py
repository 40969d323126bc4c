"""What was given up, as a person is shown it, and events that no notifier could take."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from heliograph.events.model import JobEvent


class DeadKind(StrEnum):
    """What kind of thing was given up."""

    JOB = "job"  # failed although the same request may succeed, with no attempt left
    EVENT = "event"  # a told event that no notifier could take
    STUCK = "stuck"  # not given up, but nothing happens with it


class LetterState(StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A told event that was laid aside ``count`` times; ``reason`` is the bus's word for why."""

    event: JobEvent
    count: int
    first_at: datetime
    last_at: datetime
    reason: str | None = None
    replayed_at: datetime | None = None
    replayed_by: str | None = None

    @property
    def state(self) -> LetterState:
        """Where it stands."""
        return LetterState.OPEN if self.replayed_at is None else LetterState.REPLAYED


@dataclass(frozen=True, slots=True)
class DeadItem:
    """One line of the list: ``what`` happened to it, in words, with whose ``error``, and since when."""

    id: str
    kind: DeadKind
    job: str
    queue: str
    backend: str | None
    what: str
    error: str | None
    since: datetime
    can_replay: bool
