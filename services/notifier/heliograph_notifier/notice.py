"""What a notice says, independent of the channel: made from the job as it stands and the change that is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from heliograph.ids import short_id
from heliograph.jobs.model import Artifact, Change, Job
from heliograph.notices.model import Delivery, Occasion
from heliograph_notifier.readable import Row, clean, duration, moment, one_line, size, table
from heliograph_notifier.rules import OCCASIONS, series_start

MOST_PICTURE = 500 * 1024  # bytes of a picture that is shown in the notice itself
MOST_ERROR = 1_500  # characters of an error's message; the log has the rest

_HEADLINES = {
    Occasion.SUBMITTED: "Your request has been submitted",
    Occasion.DONE: "Your request is done",
    Occasion.FAILED: "Your request has failed",
    Occasion.CANCELLED: "Your request was cancelled",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file that the job made: its name, and its size in words."""

    name: str
    size: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice, ready to be laid out. Every text is clean: no secrets, no control characters.

    ``page`` is where a browser shows the result, where the submission named such a page: the api itself asks for a
    token, which no link carries. ``command`` fetches the job with the reader's own token.
    """

    occasion: Occasion
    job: str
    short_id: str
    product: str
    subject: str
    headline: str
    summary: str
    message: str | None
    error: str | None
    facts: tuple[Row, ...]
    parameters: tuple[Row, ...]
    result: tuple[Row, ...]
    files: tuple[File, ...]
    picture: Artifact | None
    page: str | None
    command: str


def describe(job: Job, delivery: Delivery, public_url: str) -> Notice:
    """Return what to say of the change that ``delivery`` is about.

    The job may have moved on since: what belongs to a later series or state (its result, its error) stays out.
    """
    change = next((each for each in job.history if each.seq == delivery.seq), None)
    at = change.at if change else delivery.created_at
    requested = series_start(job, delivery.series)
    is_current = job.series == delivery.series and OCCASIONS.get(job.state) is delivery.occasion
    product = one_line(job.name or job.backend or job.queue, 60)
    short = short_id(job.id)
    verb = "download" if is_current and job.artifacts else "show"
    return Notice(
        occasion=delivery.occasion,
        job=job.id,
        short_id=short,
        product=product,
        subject=f"[Heliograph] {delivery.occasion}: {product}, requested {moment(requested)}, job {short}",
        headline=_HEADLINES[delivery.occasion],
        summary=_summary(delivery.occasion, product, requested, at),
        message=_message(job, change, is_current=is_current),
        error=_error(job, change, is_current=is_current) if delivery.occasion is not Occasion.DONE else None,
        facts=_facts(job, delivery.occasion, requested, at),
        parameters=table(job.parameters),
        result=table(job.result) if is_current else (),
        files=_files(job.artifacts) if is_current else (),
        picture=_picture(job.artifacts) if is_current and delivery.occasion is Occasion.DONE else None,
        page=job.handler,
        command=f"heliograph {verb} {job.id} --url {public_url.rstrip('/')}",
    )


def _summary(occasion: Occasion, product: str, requested: datetime, at: datetime) -> str:
    took = duration(at - requested)
    match occasion:
        case Occasion.SUBMITTED:
            return f"{product} is queued. You will hear of it again when it is over, if your settings say so."
        case Occasion.DONE:
            return f"{product} finished {took} after it was requested."
        case Occasion.FAILED:
            return f"{product} failed {took} after it was requested."
        case Occasion.CANCELLED:
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


def _facts(job: Job, occasion: Occasion, requested: datetime, at: datetime) -> tuple[Row, ...]:
    rows: list[Row] = [("Job", job.id)]
    if job.name and job.backend:
        rows.append(("Backend", one_line(job.backend)))
    rows.append(("Requested", moment(requested, seconds=True)))
    if occasion is not Occasion.SUBMITTED:
        rows.append(("Over", moment(at, seconds=True)))
        if job.started_at and requested <= job.started_at <= at:
            rows.append(("Waited", duration(job.started_at - requested)))
            rows.append(("Ran", duration(at - job.started_at)))
        else:
            rows.append(("Took", duration(max(at - requested, timedelta(0)))))
    return tuple(rows)


def _files(artifacts: Sequence[Artifact]) -> tuple[File, ...]:
    return tuple(File(one_line(each.name, 80), size(each.bytes)) for each in artifacts)


def _picture(artifacts: Sequence[Artifact]) -> Artifact | None:
    return next((each for each in artifacts if each.media_type == "image/png" and each.bytes <= MOST_PICTURE), None)
