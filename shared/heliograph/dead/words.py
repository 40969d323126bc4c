"""What is said to a person of something that was given up, or is stuck."""

from collections.abc import Mapping

from heliograph.dead.model import DeadItem, DeadKind, DeadLetter, LetterState
from heliograph.jobs.states import ErrorKind
from heliograph.jobs.store.given_up import GivenUpJob
from heliograph.jobs.store.stuck import Cause, StuckJob

_LAST: Mapping[ErrorKind, str] = {
    ErrorKind.LOST: "the last was lost with its worker",
    ErrorKind.TIMEOUT: "the last took longer than it may",
    ErrorKind.TRANSIENT: "the last failed for a passing reason",
}
NUDGED = frozenset({Cause.OUTBOX, Cause.NOTICES})  # what another try may help


def of_job(job: GivenUpJob) -> DeadItem:
    """Say what became of a job that was given up."""
    attempts = "1 attempt" if job.attempts == 1 else f"{job.attempts} attempts"
    return DeadItem(
        job.id, DeadKind.JOB, job.id, job.queue, job.backend, f"given up after {attempts}: {_LAST[job.kind]}",
        job.message, job.at, can_replay=True,
    )  # fmt: skip


def of_letter(letter: DeadLetter) -> DeadItem:
    """Say what became of an event that no notifier could take."""
    data, is_open = letter.event.data, letter.state is LetterState.OPEN
    again = f", {letter.count} times by now" if letter.count > 1 else ""
    what = f'no notifier could take the news that the job is "{data.state}"{again}'
    if letter.replayed_at is not None:
        what += f"; {letter.replayed_by} had it told again on {letter.replayed_at:%Y-%m-%d at %H:%M:%S} UTC"
    return DeadItem(
        letter.event.id, DeadKind.EVENT, data.id, data.queue, data.backend, what, letter.reason, letter.last_at,
        can_replay=is_open,
    )  # fmt: skip


def of_stuck(stuck: StuckJob, standing_still: Mapping[str, str]) -> DeadItem:
    """Say why nothing happens with a job."""
    cause = stuck.place.cause
    return DeadItem(
        stuck.place.job, DeadKind.STUCK, stuck.place.job, stuck.queue, stuck.backend,
        _why(stuck, cause, standing_still), None, stuck.place.since, can_replay=cause in NUDGED,
    )  # fmt: skip


def _why(stuck: StuckJob, cause: Cause, standing_still: Mapping[str, str]) -> str:
    if cause is Cause.UNCLAIMED:
        return f"it waits: {standing_still.get(stuck.queue, 'nobody takes work from its queue')}"
    if cause is Cause.HELD:
        return f"{stuck.holder or 'somebody'} holds it without a lease and has not said a word of it since"
    if cause is Cause.OUTBOX:
        return "its events do not get to the bus: the broker is away, or the event cannot be told"
    return "no notifier has planned what people are to be told of it"
