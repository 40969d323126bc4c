"""Mutes and watches, as a client writes and reads them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator

from heliograph.wire.moment import Moment
from heliograph.wire.queues import Line
from heliograph.wire.submission import BACKEND_PATTERN, ChannelWishes

Channel = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
_LONGEST_SECONDS = 31_536_000.0  # a year; longer than that is for good


class MuteRequest(BaseModel):
    """What to hear no more of: a job, a group, or, where neither is named, everything."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"group": "night of 3 May", "seconds": 86400}]}
    )

    job: Line | None = None
    group: Line | None = None
    owner: Line | None = Field(default=None, description="Whose group it is; by default the caller's")
    channel: Channel | None = Field(default=None, description="Over this channel alone")
    until: Moment | None = Field(default=None, description="Until then; else for good")
    seconds: Annotated[float, Strict(), Field(gt=0, le=_LONGEST_SECONDS)] | None = Field(
        default=None, description="For so long, in the place of `until`"
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.job is not None and self.group is not None:
            raise ValueError("name a job or a group, not both")
        if self.owner is not None and self.group is None:
            raise ValueError("only a group has an owner")
        if self.until is not None and self.seconds is not None:
            raise ValueError("state `until` or `seconds`, not both")
        return self


class MuteView(BaseModel):
    """A mute."""

    model_config = ConfigDict(frozen=True)

    id: str
    scope: Literal["all", "job", "group"]
    job: str | None
    group: str | None
    owner: str | None = Field(description="Whose group it is")
    channel: str | None = Field(description="Null: over every channel")
    recipient: str | None = Field(description="What a link in a message has muted; null: wherever the caller is told")
    until: datetime | None = Field(description="Null: for good")
    made_by: str
    created_at: datetime


class MutePage(BaseModel):
    """All mutes of the caller, the newest first."""

    items: list[MuteView]
    next: None = None


class WatchRequest(BaseModel):
    """What to be told of besides one's own jobs: those of a queue, of a backend, or of a group."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"group": "night of 3 May", "email": {"submitted": False}}]},
    )

    queue: Line | None = None
    backend: Annotated[str, StringConstraints(pattern=BACKEND_PATTERN)] | None = None
    group: Line | None = None
    email: ChannelWishes | None = Field(default=None, description="Before what the preferences and the token say")
    matrix: ChannelWishes | None = Field(default=None, description="Before what the preferences and the token say")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.queue, self.backend, self.group)) != 1:
            raise ValueError("name a queue, a backend or a group, and no two of them")
        return self


class WatchView(BaseModel):
    """A watch."""

    model_config = ConfigDict(frozen=True)

    id: str
    person: str = Field(description="Who is told")
    queue: str | None = Field(description="A backend's jobs are those of the queue of its name")
    group: str | None
    owner: str | None = Field(description="Whose jobs alone; null: everybody's")
    wishes: dict[str, dict[str, Any]] = Field(description="By channel, what it states itself")
    created_at: datetime


class WatchPage(BaseModel):
    """All watches of a person, the newest first."""

    items: list[WatchView]
    next: None = None
