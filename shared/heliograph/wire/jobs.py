"""A job, as a client reads it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heliograph.jobs.model import Artifact, Change, Job
from heliograph.jobs.states import ErrorKind, State


class ErrorView(BaseModel):
    """Why a job failed, or why its last attempt did."""

    model_config = ConfigDict(frozen=True)

    kind: ErrorKind
    message: str
    traceback: str | None = None


class ArtifactView(BaseModel):
    """A file that a job made."""

    model_config = ConfigDict(frozen=True)

    name: str
    media_type: str
    bytes: int
    sha256: str


class ArtifactPage(BaseModel):
    """All artifacts of a job."""

    items: list[ArtifactView]
    next: None = None


class JobView(BaseModel):
    """A request for work and what became of it. Order what you show by ``seq``, then ``updated_at``."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="A ULID; its last 8 characters are the short id that people see")
    backend: str | None
    queue: str
    name: str | None
    group: str | None
    parent: str | None
    ancestors: list[str] = Field(description="From the root of its tree to its parent")
    after: list[str] = Field(description="The jobs that it comes after")
    waits_for: list[str] = Field(description="Those of them for which it still waits")
    owner: str
    state: State
    stage: str | None = Field(description="What it is doing, in the backend's words")
    progress: float | None = Field(description="0 to 1")
    eta_seconds: float | None
    message: str | None
    series: int = Field(description="Counts the runs; a retry of an ended job starts a new one")
    attempt: int = Field(description="Counts how often it was begun in this series")
    max_attempts: int
    priority: int
    not_before: datetime | None = Field(description="Waits until then; after a failed attempt, the next one does")
    start_before: datetime | None
    timeout_seconds: float | None
    cancel_requested: bool
    seq: int = Field(description="Counts the changes of state")
    parameters: Any
    result: Any
    error: ErrorView | None
    artifacts: list[ArtifactView]
    handler: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    links: dict[str, str]


class JobPage(BaseModel):
    """A page of jobs."""

    items: list[JobView]
    next: str | None = Field(description="The cursor of the next page")


class HistoryEntry(BaseModel):
    """One change of state."""

    model_config = ConfigDict(frozen=True)

    seq: int
    series: int
    at: datetime
    state: State
    stage: str | None
    message: str | None
    by: str


class HistoryPage(BaseModel):
    """The last 200 changes of state, oldest first."""

    items: list[HistoryEntry]
    next: None = None


_PLAIN = (
    "id", "backend", "queue", "name", "group", "parent", "ancestors", "after", "waits_for", "owner", "state", "stage",
    "progress", "eta_seconds", "message", "series", "attempt", "max_attempts", "priority", "not_before", "start_before",
    "timeout_seconds", "cancel_requested", "seq", "parameters", "result", "handler", "created_at", "updated_at",
    "started_at", "ended_at",
)  # fmt: skip
_LINKS = ("log", "artifacts", "history", "notices", "tree")


def job_json(job: Job) -> dict[str, Any]:
    """Return a job in the shape of ``JobView``, ready to be written as JSON; plain, for it is on the hot path."""
    own = f"/v1/jobs/{job.id}"
    view: dict[str, Any] = {name: getattr(job, name) for name in _PLAIN}
    view["error"] = (
        {"kind": job.error.kind, "message": job.error.message, "traceback": job.error.traceback} if job.error else None
    )
    view["artifacts"] = [artifact_json(each) for each in job.artifacts]
    view["links"] = {"self": own, **{name: f"{own}/{name}" for name in _LINKS}}
    return view


def artifact_json(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact in the shape of ``ArtifactView``."""
    return {
        "name": artifact.name, "media_type": artifact.media_type, "bytes": artifact.bytes, "sha256": artifact.sha256,
    }  # fmt: skip


def history_json(history: tuple[Change, ...]) -> dict[str, Any]:
    """Return a history in the shape of ``HistoryPage``."""
    items = [
        {
            "seq": change.seq, "series": change.series, "at": change.at, "state": change.state, "stage": change.stage,
            "message": change.message, "by": change.by,
        }
        for change in history
    ]  # fmt: skip
    return {"items": items, "next": None}
