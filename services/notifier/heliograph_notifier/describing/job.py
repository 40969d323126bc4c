"""What a notice says of a job: made from the job as it stands and the change that is told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from heliograph.channels import File, Link, Notice, Row, Section
from heliograph.ids import short_id
from heliograph.jobs.model import Artifact, Change, Job
from heliograph.masking import holds_mask
from heliograph.notices.model import Delivery, Occasion
from heliograph.notices.notify import Notify
from heliograph_notifier.describing.snippet import snippet
from heliograph_notifier.describing.whose import whose, why
from heliograph_notifier.links import Links
from heliograph_notifier.readable import clean, duration, moment, one_line, size, table
from heliograph_notifier.rules import OCCASIONS, series_start

MOST_PICTURE = 500 * 1024  # bytes of a picture that is shown in the notice itself
MOST_ADDRESS = 2_000  # characters of an address; browsers take no more for certain
MOST_ERROR = 1_500  # characters of an error's message; the log has the rest

_HEADLINES = {
    Occasion.SUBMITTED: "has been submitted",
    Occasion.RUNNING: "has begun",
    Occasion.DONE: "is done",
    Occasion.FAILED: "has failed",
    Occasion.CANCELLED: "was cancelled",
}
_OVER = frozenset({Occasion.DONE, Occasion.FAILED, Occasion.CANCELLED})


def describe_job(job: Job, delivery: Delivery, links: Links, site: str = "Heliograph") -> Notice:
    """Return what to say of the change that ``delivery`` is about.

    Times are by the reader's clock. The job may have moved on since: what belongs to a later series or state (its
    result, its error) stays out.
    """
    change = next((each for each in job.history if each.seq == delivery.seq), None)
    at = change.at if change else delivery.created_at
    requested = series_start(job, delivery.series)
    is_current = job.series == delivery.series and OCCASIONS.get(job.state) is delivery.occasion
    product = one_line(job.name or job.backend or job.queue, 60)
    short = short_id(job.id)
    verb = "download" if is_current and job.artifacts else "show"
    requested_at = moment(requested, delivery.time_zone)
    has_error = delivery.occasion in {Occasion.FAILED, Occasion.CANCELLED}
    sections = (
        Section("Result", table(job.result) if is_current else ()),
        Section("What was asked", table(job.parameters)),
    )
    return Notice(
        subject=delivery.subject,
        occasion=delivery.occasion,
        state=delivery.occasion.value,
        short_id=short,
        product=product,
        title=f"[{one_line(site, 60)}] {delivery.occasion}: {product}, requested {requested_at}, job {short}",
        headline=f"{whose('request', delivery, job.owner)} {_HEADLINES[delivery.occasion]}",
        summary=_summary(delivery.occasion, product, requested, at),
        thread=f"job.{job.id.lower()}",
        outline=_facts(job, delivery, requested, at, _canceller(job, change, is_current=is_current)),
        backend=job.backend,
        message=_message(job, change, is_current=is_current),
        error=_error(job, change, is_current=is_current) if has_error else None,
        sections=tuple(section for section in sections if section.rows),
        files=_files(job.artifacts) if is_current else (),
        picture=_picture(job.artifacts) if is_current and delivery.occasion is Occasion.DONE else None,
        links=_pages(job, delivery, links),
        choices=links.choices(delivery, job.id, (job.owner, job.group) if job.group else None),
        why=why(delivery, job.owner),
        unsubscribe=links.unsubscribe(delivery),
        command=f"heliograph {verb} {job.id} --url {links.base}",
        snippet=snippet(job, links.base) if delivery.occasion in _OVER else None,
        is_confidential=Notify.from_document(job.notify).is_confidential,
    )


def _summary(occasion: Occasion, product: str, requested: datetime, at: datetime) -> str:
    took = duration(at - requested)
    match occasion:
        case Occasion.SUBMITTED:
            return f"{product} is queued. You will hear of it again when it is over, if your settings say so."
        case Occasion.RUNNING:
            return f"{product} began {took} after it was requested."
        case Occasion.DONE:
            return f"{product} finished {took} after it was requested."
        case Occasion.FAILED:
            return f"{product} failed {took} after it was requested."
        case _:
            return f"{product} was stopped {took} after it was requested."


def _message(job: Job, change: Change | None, *, is_current: bool) -> str | None:
    words = job.message if is_current else change.message if change else None
    return one_line(words, MOST_ERROR) if words else None


def _error(job: Job, change: Change | None, *, is_current: bool) -> str | None:
    words = job.error.message if is_current and job.error else change.message if change else None
    if not words:
        return None
    cleaned = clean(words).strip()
    return cleaned if len(cleaned) <= MOST_ERROR else cleaned[:MOST_ERROR].rstrip() + " …"


def _canceller(job: Job, change: Change | None, *, is_current: bool) -> str | None:
    """Return who asked for it to be cancelled; None where a service ended it, such as one that came too late."""
    return change.by if change and is_current and job.cancel_requested else None


def _facts(
    job: Job, delivery: Delivery, requested: datetime, at: datetime, cancelled_by: str | None
) -> tuple[Row, ...]:
    rows: list[Row] = [("Job", job.id)]
    if job.name:
        rows.append(("Backend", one_line(job.backend)) if job.backend else ("Queue", one_line(job.queue)))
    if job.group:
        rows.append(("Group", one_line(job.group)))
    rows.append(("Requested by", one_line(job.owner)))
    rows.append(("Requested", moment(requested, delivery.time_zone, seconds=True)))
    if delivery.occasion is Occasion.RUNNING:
        rows.append(("Begun", moment(at, delivery.time_zone, seconds=True)))
        rows.append(("Waited", duration(at - requested)))
    elif delivery.occasion in _OVER:
        if delivery.occasion is Occasion.CANCELLED and cancelled_by:
            rows.append(("Cancelled by", one_line(cancelled_by)))
        rows.append(("Over", moment(at, delivery.time_zone, seconds=True)))
        if job.started_at and requested <= job.started_at <= at:
            rows.append(("Waited", duration(job.started_at - requested)))
            rows.append(("Ran", duration(at - job.started_at)))
        else:
            rows.append(("Took", duration(max(at - requested, timedelta(0)))))
    return tuple(rows)


def _pages(job: Job, delivery: Delivery, links: Links) -> tuple[Link, ...]:
    """Return where the work can be looked at, the page worth opening first in front."""
    is_begun = job.attempt > 0 and delivery.occasion is not Occasion.SUBMITTED
    # A secret is shown to nobody, so that what holds one cannot be repeated from its page.
    is_repeatable = delivery.occasion in _OVER and not holds_mask(job.parameters)
    ours = links.work(job.id, is_begun=is_begun, is_repeatable=is_repeatable)
    page = job.handler or ""
    # What its submitter named is passed on where it is the address of a page and holds nothing that gives access.
    if not page.startswith(("https://", "http://")) or clean(page) != page or len(page) > MOST_ADDRESS:
        return ours
    if delivery.occasion is Occasion.DONE:
        return (Link("Open the result", page), *ours)
    return (*ours, Link("Open the page for its result", page))


def _files(artifacts: Sequence[Artifact]) -> tuple[File, ...]:
    return tuple(File(one_line(each.name, 80), size(each.bytes)) for each in artifacts)


def _picture(artifacts: Sequence[Artifact]) -> Artifact | None:
    found = next((each for each in artifacts if each.media_type == "image/png" and each.bytes <= MOST_PICTURE), None)
    return replace(found, name=one_line(found.name, 80)) if found else None
