"""What an execution is asked for, whom it tells, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from heliograph.jobs.model import JobError
from heliograph_worker.protocol import Topic
from heliograph_worker.secrets import JobSecrets


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at a job.

    ``token`` is unique to the attempt (its lease's); ``parameters`` is a JSON value in which a file parameter holds
    an upload's id; ``inputs`` maps these ids to local files; without ``timeout`` it may run for ever; no process runs
    the tasks of two owners. ``remembered`` is what earlier attempts kept; where they may still be at work in an outside
    system, it ``asks_first``. ``memory`` is what each of its processes may allocate, in bytes. With ``secrets``, the
    ``parameters`` hold masks until the task runs.
    """

    token: str
    job: str
    attempt: int
    backend: str
    parameters: Any = field(repr=False)
    timeout: timedelta | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    owner: str = ""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    asks_first: bool = False
    memory: int | None = None
    secrets: JobSecrets | None = None


class StopReason(StrEnum):
    """Why an attempt is to stop before its end."""

    CANCELLED = "cancelled"  # somebody asked for it
    LOST = "lost"  # the lease has gone to somebody else: killed without grace
    SHUTDOWN = "shutdown"  # the worker closes


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"  # neither well nor badly: lost, or the worker closes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: a ``result`` (a JSON value) where it is done, an ``error`` where it failed.

    ``reason`` says why it was stopped; without one, a signal reached its process from elsewhere.
    """

    kind: OutcomeKind
    result: Any = None
    error: JobError | None = None
    reason: StopReason | None = None


class Observer(Protocol):
    """Who is told of an attempt while it runs. Nothing is told after its outcome.

    An exception from ``artifact`` fails the attempt (transient); one from the others is logged and forgotten.
    """

    async def progress(
        self, fraction: float | None, stage: str | None, eta_seconds: float | None, message: str | None
    ) -> None:
        """Take the latest progress; what came in between while this was busy is skipped. None: as it was."""

    async def log(self, data: bytes) -> None:
        """Take a further piece of the log, of at most ``logs.CHUNK`` bytes; it may end within a character."""

    async def artifact(self, name: str, path: Path, media_type: str) -> None:
        """Keep a file; ``path`` is gone after this returns."""

    async def answer(self, topic: Topic, content: Any) -> Any:
        """Return what the job asked for, a JSON value; raise a ``BackendError`` that says why not."""
