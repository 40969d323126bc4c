"""Reports of incidents and tests of the channels, as a client writes and reads them."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from heliograph.wire.moment import Moment
from heliograph.wire.notices import NoticeView
from heliograph.wire.queues import Line
from heliograph.wire.silence import Channel

MOST_CHARACTERS = 20_000
# Lines and tabs, and no other control character: it is shown to people, in mails too.
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS,
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$",
    ),
]  # fmt: skip


class IncidentRequest(BaseModel):
    """A problem that the operators should know of."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"text": "The dome opened in the rain.", "occurred_at": "2030-01-31T20:00:00Z"}]
        },
    )

    text: Text = Field(description="What happened, in plain words")
    title: Line | None = None
    job: Line | None = Field(default=None, description="The job that it is about; one that the caller may see")
    occurred_at: Moment | None = Field(default=None, description="When it happened; by default now")


class IncidentView(BaseModel):
    """A report of an incident."""

    model_config = ConfigDict(frozen=True)

    id: str
    by: str
    title: str | None
    text: str
    job: str | None
    occurred_at: datetime
    created_at: datetime
    planned_at: datetime | None = Field(description="When it was decided who is told; their notices tell the rest")


class IncidentTaken(IncidentView):
    """A report that has just been made."""

    told: bool | None = Field(
        default=None,
        description="Whether somebody is configured to be told of reports; null: no notifier runs that would say so",
    )


class IncidentDetail(IncidentView):
    """A report, and who was told of it."""

    notices: list[NoticeView] = Field(default_factory=list)


class IncidentPage(BaseModel):
    """A page of reports, the newest first."""

    items: list[IncidentView]
    next: str | None = None


class NoticeTestRequest(BaseModel):
    """Which channels to try: all on which the caller can be reached, one, or one with another recipient."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"channel": "email"}]})

    channel: Channel | None = None
    recipient: Line | None = Field(default=None, description="The caller's own; others take a role")

    @model_validator(mode="after")
    def _where(self) -> Self:
        if self.recipient is not None and self.channel is None:
            raise ValueError("name the channel of the recipient")
        return self


class NoticeTestView(BaseModel):
    """A test under way."""

    model_config = ConfigDict(frozen=True)

    id: str
    subject: str = Field(description="What its notices are about")


class NoticeTestNotices(BaseModel):
    """What became of a test."""

    model_config = ConfigDict(frozen=True)

    id: str
    planned: bool = Field(description="Whether a notifier has seen it; one that runs takes seconds at most")
    items: list[NoticeView]
