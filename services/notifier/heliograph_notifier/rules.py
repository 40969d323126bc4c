"""Who is told what: a pure function over values; the planner around it only moves data.

The rules are those of the platform's notification claims. *Submitted*: where wished, and not within the interval since
the last one of the same request. *Done*: where wished, allowed after a threshold, and the job took longer than it; at
a threshold of 0 every one. *Failed*: where wished. *Cancelled* is told like *failed*, but not to whoever cancelled.
What a rule keeps back is a delivery too, suppressed, with the rule's name: so that "why was I not told" has an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

from heliograph.events.model import JobEvent
from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Wish
from heliograph_notifier.readable import duration

Value = TypeVar("Value")

OCCASIONS: Mapping[State, Occasion] = MappingProxyType(
    {
        State.QUEUED: Occasion.SUBMITTED,
        State.DONE: Occasion.DONE,
        State.FAILED: Occasion.FAILED,
        State.CANCELLED: Occasion.CANCELLED,
    }
)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a wish leaves it open; times in seconds."""

    submitted: bool = True
    interval_seconds: float = 60.0
    done: bool = True
    done_after_threshold: bool = True
    threshold_seconds: float = 1800.0
    failed: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a notice goes out, by which rule, and the interval that it has to keep besides."""

    is_told: bool
    reason: str
    interval_seconds: float | None = None


def plan(event: JobEvent, job: Job, wishes: Sequence[Wish], defaults: Defaults, clock: datetime) -> list[Delivery]:
    """Return the deliveries that an event asks for, one for each recipient and channel.

    Decides on the event's own time; ``clock`` only schedules. A delivery with ``interval_seconds`` goes out only if
    the interval is free, which the store can tell: see ``within_interval``. Where several wishes name the same
    recipient and channel, one that is told prevails.
    """
    occasion = OCCASIONS.get(event.data.state)
    if occasion is None:
        return []
    deliveries: dict[tuple[str, str], Delivery] = {}
    for wish in wishes:
        verdict = judge(occasion, event, job, _settled(wish, defaults))
        place = wish.channel, wish.recipient
        if place in deliveries and not (verdict.is_told and deliveries[place].status is DeliveryStatus.SUPPRESSED):
            continue
        deliveries[place] = Delivery(
            id=new_id(), job=event.data.id, occasion=occasion, series=event.data.series, seq=event.data.seq,
            channel=wish.channel, recipient=wish.recipient, reason=verdict.reason, created_at=clock, due_at=clock,
            status=DeliveryStatus.PLANNED if verdict.is_told else DeliveryStatus.SUPPRESSED,
            interval_seconds=verdict.interval_seconds,
        )  # fmt: skip
    return list(deliveries.values())


def within_interval(delivery: Delivery) -> Delivery:
    """Return a planned delivery as suppressed, since another notice of the same request came before it."""
    length = duration(timedelta(seconds=delivery.interval_seconds or 0))
    reason = f"submitted-within-interval: the same request was told of less than {length} before"
    return replace(delivery, status=DeliveryStatus.SUPPRESSED, reason=reason)


def judge(occasion: Occasion, event: JobEvent, job: Job, wish: "SettledWish") -> Verdict:
    """Apply the rules to one recipient."""
    match occasion:
        case Occasion.SUBMITTED:
            return _judge_submitted(wish)
        case Occasion.DONE:
            return _judge_done(event, job, wish)
        case Occasion.CANCELLED if event.data.by in {wish.recipient, wish.subject or job.owner}:
            return Verdict(False, "cancelled-by-recipient: who cancelled it knows")
        case Occasion.FAILED | Occasion.CANCELLED:
            word = "wished" if wish.failed else "not-wished"
            return Verdict(wish.failed, f"{occasion}-{word}: notices of failure are {'on' if wish.failed else 'off'}")


def _judge_submitted(wish: "SettledWish") -> Verdict:
    if not wish.submitted:
        return Verdict(False, "submitted-not-wished: notices of submission are off")
    interval = wish.interval_seconds if wish.interval_seconds > 0 else None
    return Verdict(True, "submitted-wished: notices of submission are on", interval)


def _judge_done(event: JobEvent, job: Job, wish: "SettledWish") -> Verdict:
    if not wish.done:
        return Verdict(False, "done-not-wished: notices of completion are off")
    if not wish.done_after_threshold:
        return Verdict(False, "done-after-threshold-off: notices after a long run are off")
    if wish.threshold_seconds <= 0:
        return Verdict(True, "done-wished: every completion is told")
    took = event.data.at - series_start(job, event.data.series)
    facts = f"took {duration(took)}, told from {wish.threshold_seconds:g} s"
    if took > timedelta(seconds=wish.threshold_seconds):
        return Verdict(True, f"done-above-threshold: {facts}")
    return Verdict(False, f"done-below-threshold: {facts}")


def series_start(job: Job, series: int) -> datetime:
    """Return when a series began: when the job was submitted or reopened.

    The history keeps the last changes only; the oldest one that it has of the series is the best that is known then.
    """
    if series == 1:
        return job.created_at
    return min((change.at for change in job.history if change.series == series), default=job.created_at)


@dataclass(frozen=True, slots=True)
class SettledWish:
    """A wish with nothing left open."""

    recipient: str
    subject: str | None
    submitted: bool
    interval_seconds: float
    done: bool
    done_after_threshold: bool
    threshold_seconds: float
    failed: bool


def _settled(wish: Wish, defaults: Defaults) -> SettledWish:
    return SettledWish(
        recipient=wish.recipient,
        subject=wish.subject,
        submitted=_either(wish.submitted, defaults.submitted),
        interval_seconds=_either(wish.interval_seconds, defaults.interval_seconds),
        done=_either(wish.done, defaults.done),
        done_after_threshold=_either(wish.done_after_threshold, defaults.done_after_threshold),
        threshold_seconds=_either(wish.threshold_seconds, defaults.threshold_seconds),
        failed=_either(wish.failed, defaults.failed),
    )


def _either(wished: Value | None, default: Value) -> Value:
    return default if wished is None else wished
