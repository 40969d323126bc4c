"""Wishes, deliveries and what is kept of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class Occasion(StrEnum):
    """What people are told of."""

    SUBMITTED = "submitted"
    RUNNING = "running"  # begun after a long wait
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    FAILING = "failing"  # an early word: many of a group fail
    DIGEST = "digest"  # what became of a group
    INCIDENT = "incident"  # somebody reports a problem to the operators
    TEST = "test"  # somebody tries whether notices arrive


class SubjectKind(StrEnum):
    """What kind of thing a notice is about."""

    JOB = "job"
    GROUP = "group"  # a campaign: the work of one owner in one group, from its first news until it is over
    INCIDENT = "incident"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about; ``id`` is that of the job, of the campaign, of the incident or of the test."""

    kind: SubjectKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what ``str`` wrote."""
        kind, _, identifier = text.partition(":")
        return cls(SubjectKind(kind), identifier)

    @classmethod
    def of_job(cls, job: str) -> Self:
        """Return a job as a subject."""
        return cls(SubjectKind.JOB, job)


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
    """What one recipient wishes to be told over one channel; None leaves it to others, and at last to the platform.

    ``recipient`` is an address, a Matrix room or what else the channel calls so; empty, it is the one that the person's
    token names. ``interval_seconds`` is the least time between two *submitted* notices of the same request; *running*
    is told only of jobs that waited longer than ``running_after_seconds``; *done* only of those that took longer than
    ``threshold_seconds``, and only while ``done_after_threshold`` allows it; *failed* stands for *cancelled* too. With
    ``digest``, the jobs of a group are told together. ``person`` is who stands behind the recipient, as tokens name
    them; None where nobody known does.
    """

    channel: str
    recipient: str = ""
    submitted: bool | None = None
    interval_seconds: float | None = None
    running: bool | None = None
    running_after_seconds: float | None = None
    done: bool | None = None
    done_after_threshold: bool | None = None
    threshold_seconds: float | None = None
    failed: bool | None = None
    digest: bool | None = None
    person: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Write what was wished; what was left open stays out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a wish; fields of a newer version are passed over."""
        return cls(**{name: value for name, value in document.items() if name in _WISH_FIELDS})


_WISH_FIELDS = frozenset(each.name for each in fields(Wish))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery: when, how it went, and the server's own words."""

    at: datetime
    outcome: Outcome
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice to one recipient over one channel.

    At most one exists for each ``key``: subject, occasion, series, recipient, channel, and ``copy``, which is above 0
    for what an administrator had sent again. ``reason`` names the rule that decided: a short word, a colon, and a
    sentence. With ``interval_seconds`` it may go out only where no other notice of the same request went to this
    recipient for so long; that is asked once, when it is planned. ``person`` is who stands behind the recipient, and
    ``time_zone`` theirs (an IANA name), where these are known. ``origin`` says how they come to be told: "owner",
    "submission", "watch", "contact" or "operator"; None where nobody has said, as for deliveries of old.
    """

    id: str
    subject: Subject
    occasion: Occasion
    series: int
    seq: int
    channel: str
    recipient: str
    status: DeliveryStatus
    reason: str
    created_at: datetime
    due_at: datetime
    copy: int = 0
    person: str | None = None
    origin: str | None = None
    time_zone: str | None = None
    is_urgent: bool = False
    attempts: tuple[Attempt, ...] = ()
    receipt: str | None = None
    sent_at: datetime | None = None
    interval_seconds: float | None = None

    @property
    def job(self) -> str | None:
        """The job that it is about, where it is about one."""
        return self.subject.id if self.subject.kind is SubjectKind.JOB else None

    @property
    def key(self) -> str:
        """What makes it the same notice; the recipient stands last, since only it may hold any character."""
        return f"{self.subject}|{self.occasion}|{self.series}|{self.channel}|{self.copy}|{self.recipient}"

    @property
    def lane(self) -> str:
        """What goes one at a time, in the order of ``seq``; what is urgent passes what waits for the morning."""
        return f"{self.subject}|{self.channel}|{'urgent|' if self.is_urgent else ''}{self.recipient}"
