"""What agents write and read: claims, reports, signs of life."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from heliograph.jobs.states import State
from heliograph.wire.jobs import JobView
from heliograph.wire.queues import Line, Seconds

MOST_CLAIMED = 100
LONGEST_WAIT_SECONDS = 60.0
MOST_MESSAGE_CHARACTERS = 10_000

LeaseToken = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Message = Annotated[str, StringConstraints(max_length=MOST_MESSAGE_CHARACTERS)]


class ClaimRequest(BaseModel):
    """What an agent asks a queue for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: Line = Field(description="What it calls itself, in the history of the jobs that it takes")
    max: StrictInt = Field(default=1, ge=1, le=MOST_CLAIMED, description="How many jobs at most")
    lease_seconds: Seconds | None = Field(default=None, description="How long each is its own; null: as the queue says")
    wait: Annotated[float, Strict()] | None = Field(
        default=None, ge=0, le=LONGEST_WAIT_SECONDS, description="Wait so many seconds where there is nothing"
    )


class ClaimView(BaseModel):
    """A job that is an agent's now, with the token under which it reports on it."""

    model_config = ConfigDict(frozen=True)

    job: JobView
    lease_token: str
    lease_until: datetime | None = Field(description="Null: until it is reported or released")
    deadline: datetime | None = Field(
        description="When its `timeout_seconds` are over and it is failed; anew from `running` on; null: never"
    )


class ClaimPage(BaseModel):
    """The jobs of a claim; none where nothing waits."""

    items: list[ClaimView]


class ReportedError(BaseModel):
    """Why a job failed; after a `transient` one it is handed out again, where attempts are left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fatal", "usage", "transient"] = "fatal"
    message: Annotated[Message, StringConstraints(min_length=1)]


class ReportRequest(BaseModel):
    """How a job stands, or how it ended. Each report renews the lease."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"lease_token": "01JD5ZY8Q4V5N6M7P8R9S0T1V2", "state": "done", "result": {"frames": 12}}]
        },
    )

    lease_token: LeaseToken
    state: Literal["claimed", "running", "done", "failed", "cancelled"] | None = Field(
        default=None, description="Null, or the present one: a report of progress"
    )
    stage: Line | None = Field(default=None, description="What it is doing, in the agent's words")
    progress: Annotated[float, Strict()] | None = Field(default=None, ge=0, le=1)
    eta_seconds: Annotated[float, Strict()] | None = Field(default=None, ge=0, le=1e10)
    message: Message | None = None
    result: Any = Field(default=None, description="With `done`: a JSON value of 1 MB at most")
    error: ReportedError | None = Field(default=None, description="With `failed`")

    @field_validator("result", "error")
    @classmethod
    def _goes_with_the_state(cls, value: Any, info: ValidationInfo) -> Any:
        state = {"result": State.DONE, "error": State.FAILED}[info.field_name or ""]
        if value is not None and info.data.get("state", state.value) != state.value:
            raise ValueError(f"this goes with the state {state}")
        return value


class LeaseRequest(BaseModel):
    """Names the lease on a job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease_token: LeaseToken


class ReleaseRequest(BaseModel):
    """Names the lease to give back; who manages queues may leave it out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease_token: LeaseToken | None = None


class BeatView(BaseModel):
    """What an agent is told when it shows that it is alive."""

    model_config = ConfigDict(frozen=True)

    lease_until: datetime | None
    deadline: datetime | None = Field(description="When its `timeout_seconds` are over and it is failed; null: never")
    cancel_requested: bool = Field(description="Somebody wishes it to stop; report `cancelled` then")
