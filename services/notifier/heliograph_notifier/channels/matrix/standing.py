"""How work stands, in a few lines: what the message about it shows and is edited to show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from heliograph.jobs.model import Job
from heliograph.jobs.states import HELD, OVER, State
from heliograph_notifier.channels.matrix.content import Text
from heliograph_notifier.readable import duration, one_line

_CELLS = 10
_MOST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a job to say how it stands. Times are the database's; ``error`` is of a job that is over."""

    job: str
    state: State
    series: int
    seq: int
    attempt: int
    updated_at: datetime
    stage: str | None = None
    progress: float | None = None
    eta_seconds: float | None = None
    message: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_stopping: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the series has ended."""
        return self.state in OVER

    @property
    def mark(self) -> str:
        """What is another word whenever anything else may be."""
        return f"{self.seq}|{self.updated_at.isoformat()}"

    @classmethod
    def of_job(cls, job: Job) -> Self:
        """Read it of a job."""
        return cls(
            job.id, job.state, job.series, job.seq, job.attempt, job.updated_at, job.stage, job.progress,
            job.eta_seconds, job.message, job.error.message if job.error else None, job.started_at, job.ended_at,
            job.cancel_requested,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GroupReading:
    """What is read of a group's jobs: how many are in each state, and how long all of it took once it is over."""

    by_state: Mapping[State, int]
    is_over: bool = False
    took: timedelta | None = None

    @property
    def mark(self) -> str:
        """What is another word whenever anything else is."""
        return f"{self.is_over}|{sorted(self.by_state.items())}"

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.by_state.values())


def begun(product: str, words: str) -> Text:
    """Return the lines of work that nothing was heard of yet."""
    return Text.lines([Text.bold(f"{product}: {words}")])


def standing(reading: Reading | GroupReading, product: str, *, with_details: bool) -> Text:
    """Return how a job or a group stands; without details, the words of a backend stay out."""
    if isinstance(reading, GroupReading):
        return Text.lines(_group_lines(reading, product))
    return Text.lines(_job_lines(reading, product, with_details=with_details))


def bar(fraction: float) -> str:
    """Write a share as a bar and in percent; it is full only at the end."""
    share = min(1.0, max(0.0, fraction))
    full = int(share * _CELLS)
    return "▓" * full + "░" * (_CELLS - full) + f" {int(share * 100)} %"


def _group_lines(reading: GroupReading, product: str) -> Iterator[Text]:
    """Yield "487 ok, 13 failed of 1000" and what goes with it."""
    over = sum(reading.by_state.get(state, 0) for state in OVER)
    named = ((State.DONE, "ok"), (State.FAILED, "failed"), (State.CANCELLED, "cancelled"))
    counts = ", ".join(f"{reading.by_state[state]} {word}" for state, word in named if reading.by_state.get(state))
    took = f" in {duration(reading.took)}" if reading.took is not None else ""
    yield Text.bold(f"{product}: {f'over{took}' if reading.is_over else 'at work'}")
    yield Text.of(f"{counts or 'none over'} of {reading.total}")
    if not reading.is_over and reading.total:
        yield Text.of(bar(over / reading.total))


def _job_lines(reading: Reading, product: str, *, with_details: bool) -> Iterator[Text]:
    stage = f", {one_line(reading.stage, 80)}" if reading.stage and with_details else ""
    yield Text.bold(f"{product}: {_state(reading)}{stage if reading.state is State.RUNNING else ''}")
    if reading.state is State.RUNNING and reading.progress is not None:
        left = f", about {_rough(reading.eta_seconds)} left" if reading.eta_seconds is not None else ""
        yield Text.of(bar(reading.progress) + left)
    words = reading.error if reading.state in OVER else reading.message
    if words and with_details and (line := one_line(words, _MOST_MESSAGE)):
        yield Text.of(line)


def _state(reading: Reading) -> str:
    ran = reading.ended_at - reading.started_at if reading.ended_at and reading.started_at else None
    match reading.state:
        case State.QUEUED:
            return "queued for another attempt" if reading.attempt else "queued"
        case State.DONE:
            return f"done in {duration(ran)}" if ran is not None else "done"
        case State.FAILED | State.CANCELLED:
            return f"{reading.state} after {duration(ran)}" if ran is not None else reading.state.value
        case state if reading.is_stopping and state in HELD:
            return "stopping"
        case State.CLAIMED:
            return "about to begin"
        case _:
            return "running"


def _rough(seconds: float) -> str:
    """Write an estimate no more exactly than it is: whole seconds."""
    whole = timedelta(seconds=max(1, round(min(seconds, 10 * 365 * 86_400))))
    return f"{int(whole.total_seconds())} s" if whole < timedelta(minutes=1) else duration(whole)
