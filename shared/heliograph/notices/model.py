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


@dataclass(frozen=True, slots=True)
class Wish:
    """What one recipient wishes to be told over one channel; None leaves it to the platform's default.

    ``interval_seconds`` is the least time between two *submitted* notices of the same request; *done* is told only of
    jobs that took longer than ``threshold_seconds`` and only while ``done_after_threshold`` allows it.
    """

    channel: str
    recipient: str
    submitted: bool | None = None
    interval_seconds: float | None = None
    done: bool | None = None
    done_after_threshold: bool | None = None
    threshold_seconds: float | None = None
    failed: bool | None = None

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
    outcome: str
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice to one recipient over one channel.

    At most one exists for each (subject, occasion, series, recipient, channel); the subject is a job. ``lane`` names
    what must go one at a time, in the order of ``seq``. ``reason`` names the rule that decided.
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
