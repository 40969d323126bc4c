"""Wishes, deliveries and what is kept of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class Occasion(StrEnum):
    """What people are told of."""

    SUBMITTED = "submitted"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PLANNED = "planned"  # waits for its time, or for its next attempt
    SENDING = "sending"  # journaled before the first byte goes out
    SENT = "sent"  # the server has taken it
    FAILED = "failed"  # given up
    SUPPRESSED = "suppressed"  # a rule decided against it; the reason says which
    UNKNOWN = "unknown"  # it may or may not have arrived: the process died, or no answer came


OPEN = (DeliveryStatus.PLANNED, DeliveryStatus.SENDING)  # not decided yet; a later one of the same lane waits for it


class Outcome(StrEnum):
    """How one attempt ended."""

    SENT = "sent"
    TRY_LATER = "try-later"  # the server asked for patience, or did not answer
    REFUSED = "refused"  # the server will never take it
    GIVEN_UP = "given-up"  # it was tried for as long as it is worth while
    UNKNOWN = "unknown"  # handed over, and no answer came


class Policy(StrEnum):
    """What happens to a delivery whose outcome is unknown."""

    AT_LEAST_ONCE = "at-least-once"  # sent again, recognisable as the same message
    AT_MOST_ONCE = "at-most-once"  # left as it is, for people to look at


@dataclass(frozen=True, slots=True)
class Wish:
    """What one recipient wishes to be told over one channel; None leaves it to the platform's default.

    ``interval_seconds`` is the least time between two *submitted* notices of the same request; *done* is told only of
    jobs that took longer than ``threshold_seconds`` and only while ``done_after_threshold`` allows it. ``subject`` is
    the person behind the recipient, as tokens name them; None is the job's owner.
    """

    channel: str
    recipient: str
    submitted: bool | None = None
    interval_seconds: float | None = None
    done: bool | None = None
    done_after_threshold: bool | None = None
    threshold_seconds: float | None = None
    failed: bool | None = None
    subject: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Write what was wished; what was left open stays out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a wish; fields of a newer version are passed over."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery: when, how it went, and the server's own words."""

    at: datetime
    outcome: Outcome
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice to one recipient over one channel.

    At most one exists for each ``key``: job, occasion, series, recipient and channel. ``reason`` names the rule that
    decided: a short word, a colon, and a sentence. With ``interval_seconds`` it may go out only where no other notice
    of the same request went to this recipient for so long; that is asked once, when it is planned.
    """

    id: str
    job: str
    occasion: Occasion
    series: int
    seq: int
    channel: str
    recipient: str
    status: DeliveryStatus
    reason: str
    created_at: datetime
    due_at: datetime
    attempts: tuple[Attempt, ...] = ()
    receipt: str | None = None
    sent_at: datetime | None = None
    interval_seconds: float | None = None

    @property
    def key(self) -> str:
        """What makes it the same notice; the recipient stands last, since only it may hold any character."""
        return f"{self.job}|{self.occasion}|{self.series}|{self.channel}|{self.recipient}"

    @property
    def lane(self) -> str:
        """What goes one at a time, in the order of ``seq``."""
        return f"{self.job}|{self.channel}|{self.recipient}"
