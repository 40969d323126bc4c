"""The event that tells of progress, for whoever takes reports of it: a worker, or the api from agents."""

from datetime import UTC, datetime

from heliograph.events.model import JobEvent, JobEventData
from heliograph.jobs.model import Job
from heliograph.jobs.store.claims import Progress


def progress_event(job: Job, progress: Progress, by: str) -> JobEvent:
    """Make the event that tells of progress of a job that is held."""
    data = JobEventData(
        id=job.id, state=job.state, series=job.series, seq=job.seq, attempt=job.attempt, queue=job.queue,
        backend=job.backend, group=job.group, owner=job.owner, name=job.name, stage=progress.stage,
        progress=progress.fraction, eta_seconds=progress.eta_seconds, message=progress.message, by=by,
        created_at=job.created_at, at=datetime.now(UTC),
    )  # fmt: skip
    return JobEvent.of_progress(data, traceparent=job.traceparent)
