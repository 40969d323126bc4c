"""Pull queues and their tokens, as a client writes and reads them."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Once
from heliograph.queues.model import Declaration, Delivery
from heliograph.wire.moment import Moment

# Ours renew a lease every 10 s and are given up after 30 s. Agents are often scripts that report between two steps of
# their work and do nothing else meanwhile: five minutes spare them a heartbeat, and a dead one is still soon replaced.
LEASE_SECONDS = 300.0
LONGEST_LEASE_SECONDS = 604_800.0  # a week; longer than that is no sign of life, but a queue without leases
MOST_ATTEMPTS = 3
MOST_ROLES = 100

Seconds = Annotated[float, Strict(), Field(ge=1, le=LONGEST_LEASE_SECONDS)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class QueueLimits(BaseModel):
    """How many of a queue's jobs are held at a time; null: any number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: StrictInt | None = Field(default=None, ge=1, le=1_000_000, description="By all agents")
    per_owner: StrictInt | None = Field(default=None, ge=1, le=1_000_000, description="Of one submitter")


class QueueDeclaration(BaseModel):
    """The rules of a queue, all of them: what is left out gets its default, except `paused`, which stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"title": "Commands for the 0.35 m telescope", "delivery": "at_most_once"}]},
    )

    title: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    parameters_schema: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the parameters, complete in itself; null: anything goes"
    )
    once: Once = Field(
        default=Once.NO,
        description="Whether each input is kept once: `active`, while its job is not over; `ever`, for good",
    )
    lease_seconds: Seconds | None = Field(
        default=LEASE_SECONDS,
        description="How long a claim lasts without a sign of life; null: until it is reported or released",
    )
    delivery: Delivery = Field(
        default=Delivery.AT_LEAST_ONCE,
        description="`at_most_once`: no job is handed out twice, whatever becomes of the agent",
    )
    max_attempts: StrictInt | None = Field(
        default=None, ge=1, le=100, description="How often a job may be handed out; 3, or 1 with `at_most_once`"
    )
    limits: QueueLimits = Field(default_factory=QueueLimits)
    roles: Annotated[tuple[Line, ...], Field(max_length=MOST_ROLES)] = Field(
        default=(), description="Roles that a submitter needs, all of them"
    )
    paused: StrictBool | None = Field(default=None, description="While true, nothing can be claimed")

    @field_validator("max_attempts")
    @classmethod
    def _fits_the_delivery(cls, value: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("delivery") is Delivery.AT_MOST_ONCE and value not in {None, 1}:
            raise ValueError("what is handed out at most once is handed out 1 time")
        return value

    def to_declaration(self) -> Declaration:
        """Return the rules as the store takes them."""
        usual = 1 if self.delivery is Delivery.AT_MOST_ONCE else MOST_ATTEMPTS
        return Declaration(
            title=self.title, parameters_schema=self.parameters_schema, once=self.once,
            lease=None if self.lease_seconds is None else timedelta(seconds=self.lease_seconds),
            delivery=self.delivery, max_attempts=self.max_attempts or usual,
            limits=Limits(self.limits.total, self.limits.per_owner), roles=self.roles, paused=self.paused,
        )  # fmt: skip


class QueueView(BaseModel):
    """A declared queue and what is in it."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    parameters_schema: dict[str, Any] | None
    once: Once
    lease_seconds: float | None
    delivery: Delivery
    max_attempts: int
    limits: QueueLimits
    roles: list[str]
    paused: bool
    declared_at: datetime
    declared_by: str | None = Field(description="For those who may manage queues")
    queued: int = Field(description="Jobs that wait")
    claimed: int = Field(description="Jobs that an agent holds and has not begun")
    running: int = Field(description="Jobs at work")
    oldest_queued_seconds: float | None = Field(description="How long ago the oldest that waits was submitted")


class QueuePage(BaseModel):
    """All queues, by name."""

    items: list[QueueView]
    next: None = None


class TokenRequest(BaseModel):
    """A token to be made for the agents of a queue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: Line
    description: Line = Field(description="Whose it is, for whoever has to revoke it one day")
    expires_at: Moment | None = None


class TokenView(BaseModel):
    """What is known of a queue's token; the token itself is shown once, when it is made."""

    model_config = ConfigDict(frozen=True)

    id: str
    queue: str
    description: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")
    revoked_at: datetime | None


class IssuedToken(TokenView):
    """A new token."""

    token: str = Field(description="Keep it: it cannot be read again")


class TokenPage(BaseModel):
    """Tokens, the oldest first."""

    items: list[TokenView]
    next: None = None
