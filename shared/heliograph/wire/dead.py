"""What was given up and what is stuck, as a client reads it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from heliograph.dead.model import DeadItem, DeadKind


class DeadView(BaseModel):
    """A job that was given up, an event that no notifier could take, or a job with which nothing happens."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="What a replay takes: a job's id, or an event's")
    kind: DeadKind
    job_id: str
    queue: str
    backend: str | None
    what: str = Field(description="What happened, in words")
    error: str | None
    since: datetime
    can_replay: bool = Field(description="Whether trying again may help; what is stuck often needs something else")

    @classmethod
    def from_item(cls, item: DeadItem) -> "DeadView":
        """Show an item."""
        return cls(
            id=item.id, kind=item.kind, job_id=item.job, queue=item.queue, backend=item.backend, what=item.what,
            error=item.error, since=item.since, can_replay=item.can_replay,
        )  # fmt: skip


class DeadPage(BaseModel):
    """A page of what was given up and what is stuck."""

    items: list[DeadView]
    next: str | None = None


class ReplayView(BaseModel):
    """What was tried again."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: DeadKind = Field(description="A job runs again, an event was told again, of a stuck job it was tried")
