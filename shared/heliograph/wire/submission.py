"""A submission, as a client writes it."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    StringConstraints,
    Tag,
)

from heliograph.jobs.model import AfterCondition
from heliograph.wire.moment import Moment

BACKEND_PATTERN = r"^[a-z0-9_-]{1,64}$"
# Strict, so that true is no number, "1" no integer and "yes" no boolean: what is refused is clear, what is guessed not.
_Number = Annotated[float, Strict()]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
_Channel = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
MOST_PREDECESSORS = 1000
MOST_RECIPIENTS = 20


class ChannelWishes(BaseModel):
    """What the submitter wishes to be told over one channel; what is left out follows the token, then the platform."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    submitted: StrictBool | None = Field(default=None, description="Tell when the request has been taken")
    interval_seconds: _Number | None = Field(
        default=None, ge=0, le=31_536_000, description="Least time between two such notices for the same request"
    )
    running: StrictBool | None = Field(default=None, description="Tell when it begins after a long wait")
    running_after_seconds: _Number | None = Field(
        default=None, ge=300, le=31_536_000, description="Tell *running* only where it waited longer than this"
    )
    done: StrictBool | None = Field(default=None, description="Tell when it is done")
    threshold_seconds: _Number | None = Field(
        default=None, ge=0, le=31_536_000, description="Tell *done* only where it took longer than this"
    )
    failed: StrictBool | None = Field(default=None, description="Tell when it failed or was cancelled")
    digest: StrictBool | None = Field(default=None, description="Tell of the jobs of a group together")


class NamedRecipient(ChannelWishes):
    """Somebody else who is to be told, and what; naming them takes a role."""

    channel: _Channel = Field(description="`email`, `matrix`, or another channel that is installed")
    recipient: _Line = Field(description="An address, a room, or what else the channel takes")


class NamedContacts(BaseModel):
    """People whom the facility's contact directory names; naming them takes a role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: _Line = Field(description="A study, a project, a site: whatever the directory knows people by")
    roles: Annotated[tuple[_Line, ...], Field(max_length=20)] = Field(default=(), description="Those alone; else all")


class NotifyWishes(BaseModel):
    """Wishes by channel, further recipients, and how the notices are to be treated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: ChannelWishes | None = None
    matrix: ChannelWishes | None = None
    recipients: Annotated[tuple[NamedRecipient, ...], Field(max_length=MOST_RECIPIENTS)] = ()
    contacts: Annotated[tuple[NamedContacts, ...], Field(max_length=MOST_RECIPIENTS)] = ()
    urgent: StrictBool = Field(default=False, description="Tell at any hour")
    confidential: StrictBool = Field(
        default=False, description="Say no more than that it happened where a channel is not encrypted"
    )


class Submission(BaseModel):
    """A request for work."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "backend": "periodogram",
                    "name": "sunspot cycle",
                    "parameters": {"minimum_period_years": 2, "maximum_period_years": 100},
                }
            ]
        },
    )

    backend: Annotated[str, StringConstraints(pattern=BACKEND_PATTERN)] | None = Field(
        default=None, description="What does the work; or else a `queue`"
    )
    queue: _Line | None = Field(default=None, description="The pull queue whose agents do the work")
    parameters: dict[str, Any] = Field(default_factory=dict, description="As the backend's JSON Schema asks")
    name: _Line | None = Field(default=None, description="What people call it")
    group: _Line | None = Field(default=None, description="What it belongs to")
    parent: _Id | None = Field(default=None, description="The job that this one is a part of")
    after: Annotated[tuple[_Id, ...], Field(max_length=MOST_PREDECESSORS)] = Field(
        default=(), description="Waits until these jobs have ended"
    )
    after_condition: AfterCondition = Field(
        default=AfterCondition.DONE,
        description="`done`: where one of them ends otherwise, this one is cancelled; `over`: however they end",
    )
    priority: StrictInt = Field(default=0, ge=-1000, le=1000, description="Higher goes first; above 0 takes a role")
    not_before: Moment | None = Field(default=None, description="Waits until then")
    start_before: Moment | None = Field(default=None, description="Cancelled when not begun by then")
    timeout_seconds: _Number | None = Field(default=None, gt=0, le=2_592_000, description="The longest it may run")
    max_attempts: StrictInt = Field(default=3, ge=1, le=100, description="How often it may be begun in all")
    handler: Annotated[str, StringConstraints(pattern=r"^https?://[^\s\x00-\x1f]+$", max_length=2000)] | None = Field(
        default=None, description="A page that shows the result"
    )
    notify: Annotated[
        Annotated[StrictBool, Tag("boolean")] | Annotated[NotifyWishes, Tag("wishes")],
        Discriminator(lambda value: "boolean" if isinstance(value, bool) else "wishes"),
    ] = Field(default=True, description="False: tell nobody; or wishes by channel")
