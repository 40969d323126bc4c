"""What an agent's report means for a job: the rules, without a database."""

from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from typing import Any

from heliograph.backends.retry import Retry
from heliograph.errors import ConflictError
from heliograph.jobs.model import Job, JobError
from heliograph.jobs.states import HELD, OVER, ErrorKind, State
from heliograph.jobs.store.agents import Report, Standing
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.json_text import canonical_json

RETRY = Retry()
_NOT_BY_ITS_AGENT = {ErrorKind.TIMEOUT, ErrorKind.LOST}


@dataclass(frozen=True, slots=True)
class Told:
    """What an agent tells of a job: the state that it is in now (None: as before), and what goes with that."""

    state: State | None = None
    progress: Progress = field(default_factory=Progress)
    result: Any = None
    error: JobError | None = None

    @property
    def digest(self) -> str:
        """What tells equal reports."""
        progress, error = self.progress, self.error
        said = [
            self.state, progress.fraction, progress.stage, progress.eta_seconds, progress.message, self.result,
            [error.kind, error.message, error.traceback] if error else None,
        ]  # fmt: skip
        return sha256(canonical_json(said).encode()).hexdigest()


class Step(Enum):
    """What a report does to a job."""

    KNOWN = auto()  # nothing: it was taken before, and its answer was lost
    PROGRESS = auto()
    BEGIN = auto()
    END = auto()


def step(standing: Standing, report: Report, state: State | None) -> Step:
    """Decide what a report of this state does.

    Raises
    ------
    ConflictError
        The lease is not the job's, or the state cannot follow the present one.
    """
    if standing.reported == report:
        return Step.KNOWN
    job = standing.job
    if job.state not in HELD or job.lease is None or job.lease.token != report.token:
        raise ConflictError(why_lost(job))
    if state is None or state is job.state:
        return Step.PROGRESS
    if state is State.CLAIMED:
        raise ConflictError(f"the job is {job.state} already")
    return Step.BEGIN if state is State.RUNNING else Step.END


def finish_of(told: Told, attempt: int, chance: float, *, is_wished: bool = False) -> Finish:
    """Return how a report ends an attempt; after a transient error it is tried again, where attempts are left.

    ``chance``, drawn from 0..1, spreads what failed together. ``is_wished`` says that somebody asked for it to stop.
    """
    assert told.state is not None, "a report that ends nothing"
    message = told.progress.message
    if told.state is State.CANCELLED and not is_wished:
        error = JobError(ErrorKind.CANCELLED, message or "its agent stopped it")
        return Finish(told.state, error=error, message=message)
    if told.state is not State.FAILED:
        return Finish(told.state, result=told.result, message=message)
    error = told.error or JobError(ErrorKind.FATAL, message or "its agent reported a failure")
    wait = RETRY.delay(attempt, chance) if error.kind in RETRY.kinds else None
    return Finish(State.FAILED, error=error, message=message, retry_after=wait)


def why_lost(job: Job) -> str:
    """Return why a lease on a job is not good any more."""
    if job.state in OVER:
        why = f": {job.error.message}" if job.error and job.error.kind in _NOT_BY_ITS_AGENT else ""
        return f"the job is {job.state} already{why}"
    if job.state is State.QUEUED:
        return "the lease is lost: the job waits to be claimed again"
    return "this token is not that of the job's lease: somebody else holds the job"
