"""Who is told what: a pure function over values; the planner around it only moves data.

The rules, in this order. *Muted*: silence that somebody asked for. *With the group*: the jobs of a group are told
together, where wished. *Cancelled* is told like *failed*, but not to whoever cancelled. *Submitted*: where wished, and
not within the interval since the last one of the same request. *Running*: where wished, and the job waited longer than
a threshold. *Done*: where wished, allowed after a threshold, and the job took longer than it; at a threshold of 0 every
one. *Failed*: where wished. What a rule keeps back is a delivery too, suppressed, with the rule's name: so that "why
was I not told" has an answer. Quiet time only delays, and what is urgent passes it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from heliograph.events.model import JobEvent
from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject
from heliograph.notices.mutes import Mute, MuteScope
from heliograph_notifier.readable import duration
from heliograph_notifier.recipients import OPERATOR, Recipient
from heliograph_notifier.schedule import next_moment

OCCASIONS: Mapping[State, Occasion] = MappingProxyType(
    {
        State.QUEUED: Occasion.SUBMITTED,
        State.RUNNING: Occasion.RUNNING,
        State.DONE: Occasion.DONE,
        State.FAILED: Occasion.FAILED,
        State.CANCELLED: Occasion.CANCELLED,
    }
)

_MUTED: Mapping[MuteScope, str] = MappingProxyType(
    {MuteScope.ALL: "everything", MuteScope.JOB: "this job", MuteScope.GROUP: "this group"}
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a notice goes out, by which rule, and the interval that it has to keep besides.

    ``with_group`` says that it does not, since the group's own notices tell of it.
    """

    is_told: bool
    reason: str
    interval_seconds: float | None = None
    with_group: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The deliveries that an event asks for, and those who are told of it with its group."""

    deliveries: tuple[Delivery, ...]
    with_group: tuple[Recipient, ...] = ()


def plan(
    event: JobEvent, job: Job, told: Sequence[Recipient], mutes: Sequence[Mute], clock: datetime, *,
    is_urgent: bool = False, channels: Collection[str] | None = None,
) -> Plan:  # fmt: skip
    """Return what an event asks for, at most one delivery for each recipient and channel.

    Decides on the event's own time; ``clock`` only schedules. A delivery with ``interval_seconds`` goes out only if
    the interval is free, which the store can tell: see ``within_interval``. Where the same recipient comes up more
    than once, a mute of theirs prevails, except over a copy for the operators, and else a reason to tell; who is told
    of the job itself is not told of it with its group. ``channels`` are those over which anything is sent here; None
    stands for all.
    """
    occasion, subject = OCCASIONS[event.data.state], Subject.of_job(event.data.id)
    deliveries: dict[tuple[str, str], Delivery] = {}
    with_group: dict[tuple[str, str], Recipient] = {}
    silenced = {
        (each.channel, each.recipient): mute
        for each in reversed(told)
        if each.origin != OPERATOR and (mute := silence(mutes, each, event.data.at, job=job.id, group=_group_of(job)))
    }
    for each in told:
        place = each.channel, each.recipient
        verdict = judge(occasion, event, job, each, mutes)
        if each.origin != OPERATOR and place in silenced:
            verdict = Verdict(False, muted(silenced[place]))
        if channels is not None and each.channel not in channels and (verdict.is_told or verdict.with_group):
            verdict = without_channel(each.channel)
        if verdict.with_group:
            with_group.setdefault(place, each)
        known = deliveries.get(place)
        if known is None or (verdict.is_told and known.status is DeliveryStatus.SUPPRESSED):
            deliveries[place] = deliver(
                subject, occasion, each, verdict, clock, series=event.data.series, seq=event.data.seq,
                is_urgent=is_urgent,
            )  # fmt: skip
    only_with_group = (
        each for place, each in with_group.items() if deliveries[place].status is DeliveryStatus.SUPPRESSED
    )
    return Plan(tuple(deliveries.values()), tuple(only_with_group))


def deliver(
    subject: Subject, occasion: Occasion, to: Recipient, verdict: Verdict, clock: datetime, *,
    series: int = 1, seq: int = 1, is_urgent: bool = False,
) -> Delivery:  # fmt: skip
    """Return the delivery that a verdict amounts to, due when its reader may be told."""
    is_urgent = is_urgent or occasion in to.urgent
    is_planned = verdict.is_told and not is_urgent
    due_at = next_moment(clock, to.time_zone, to.quiet_hours, to.working_days) if is_planned else clock
    reason = f"{verdict.reason}; waits for the end of quiet time" if due_at > clock else verdict.reason
    return Delivery(
        id=new_id(), subject=subject, occasion=occasion, series=series, seq=seq, channel=to.channel,
        recipient=to.recipient, reason=reason, created_at=clock, due_at=due_at, person=to.person,
        status=DeliveryStatus.PLANNED if verdict.is_told else DeliveryStatus.SUPPRESSED, origin=to.origin,
        time_zone=to.time_zone, is_urgent=is_urgent, interval_seconds=verdict.interval_seconds,
    )  # fmt: skip


def within_interval(delivery: Delivery) -> Delivery:
    """Return a planned delivery as suppressed, since another notice of the same request came before it."""
    length = duration(timedelta(seconds=delivery.interval_seconds or 0))
    reason = f"submitted-within-interval: the same request was told of less than {length} before"
    return replace(delivery, status=DeliveryStatus.SUPPRESSED, reason=reason)


def judge(occasion: Occasion, event: JobEvent, job: Job, to: Recipient, mutes: Sequence[Mute]) -> Verdict:
    """Apply the rules to one recipient."""
    if mute := silence(mutes, to, event.data.at, job=job.id, group=_group_of(job)):
        return Verdict(False, muted(mute))
    if job.group and to.wish.digest:
        return Verdict(False, f"told-with-group: its group {job.group} is told of as a whole", with_group=True)
    if occasion is Occasion.CANCELLED and event.data.by in {to.recipient, to.person} - {None}:
        return Verdict(False, "cancelled-by-recipient: who cancelled it knows")
    return _judge_wish(occasion, event, job, to)


def _group_of(job: Job) -> tuple[str, str] | None:
    return (job.owner, job.group) if job.group else None


def _judge_wish(occasion: Occasion, event: JobEvent, job: Job, to: Recipient) -> Verdict:
    match occasion:
        case Occasion.SUBMITTED:
            return judge_submitted(to)
        case Occasion.RUNNING:
            return _judge_running(event, job, to)
        case Occasion.DONE:
            return judge_done(to, event.data.at - series_start(job, event.data.series))
        case _:
            word, switch = ("wished", "on") if to.wish.failed else ("not-wished", "off")
            return Verdict(to.wish.failed, f"{occasion}-{word}: notices of failure are {switch}")


def without_channel(channel: str) -> Verdict:
    """Return the verdict on what would go over a channel that is not set up."""
    return Verdict(False, f"no-channel: nothing is sent over {channel} here")


def silence(
    mutes: Sequence[Mute], to: Recipient, at: datetime, *, job: str | None, group: tuple[str, str] | None
) -> Mute | None:
    """Return the mute that keeps a notice from a recipient; None where none does."""
    for mute in mutes:
        if mute.holds(person=to.person, channel=to.channel, recipient=to.recipient, job=job, group=group, at=at):
            return mute
    return None


def muted(mute: Mute) -> str:
    """Return the reason that a mute is."""
    until = f" until {mute.until:%Y-%m-%d %H:%M} UTC" if mute.until else ""
    return f"muted: {_MUTED[mute.scope]}, by {mute.made_by}{until}"


def judge_submitted(to: Recipient) -> Verdict:
    """Apply the rule of submissions."""
    if not to.wish.submitted:
        return Verdict(False, "submitted-not-wished: notices of submission are off")
    interval = to.wish.interval_seconds if to.wish.interval_seconds > 0 else None
    return Verdict(True, "submitted-wished: notices of submission are on", interval)


def _judge_running(event: JobEvent, job: Job, to: Recipient) -> Verdict:
    if not to.wish.running:
        return Verdict(False, "running-not-wished: notices of a start after a long wait are off")
    began_waiting = series_start(job, event.data.series)
    if job.not_before and job.not_before <= event.data.at:  # a later one is that of an attempt that came after
        began_waiting = max(began_waiting, job.not_before)
    waited = event.data.at - began_waiting
    facts = f"waited {duration(waited)}, told from {to.wish.running_after_seconds:g} s"
    if waited > timedelta(seconds=to.wish.running_after_seconds):
        return Verdict(True, f"running-after-wait: {facts}")
    return Verdict(False, f"running-without-wait: {facts}")


def judge_done(to: Recipient, took: timedelta) -> Verdict:
    """Apply the rule of completions to what took so long."""
    if not to.wish.done:
        return Verdict(False, "done-not-wished: notices of completion are off")
    if not to.wish.done_after_threshold:
        return Verdict(False, "done-after-threshold-off: notices after a long run are off")
    if to.wish.threshold_seconds <= 0:
        return Verdict(True, "done-wished: every completion is told")
    facts = f"took {duration(took)}, told from {to.wish.threshold_seconds:g} s"
    if took > timedelta(seconds=to.wish.threshold_seconds):
        return Verdict(True, f"done-above-threshold: {facts}")
    return Verdict(False, f"done-below-threshold: {facts}")


def series_start(job: Job, series: int) -> datetime:
    """Return when a series began: when the job was submitted or reopened.

    The history keeps the last changes only; the oldest one that it has of the series is the best that is known then.
    """
    if series == 1:
        return job.created_at
    return min((change.at for change in job.history if change.series == series), default=job.created_at)
