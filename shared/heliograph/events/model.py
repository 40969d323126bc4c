"""The events of a job: CloudEvents 1.0 in the JSON format, one type for each state and one for progress.

An event carries ids, state and times; never a token, parameters or a result. Its ``id`` is ``<job>:<seq>`` for a
change of state, so that whoever acts on an event twice can tell.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from heliograph.jobs.states import State

TYPE_PREFIX = "org.heliograph.job."


class JobEventData(BaseModel):
    """What an event says of a job."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(description="The job's id, a ULID")
    state: State
    series: int = Field(description="Counts the runs of a job; a reopened job starts a new one")
    seq: int = Field(description="Counts the changes of state of a job; order what you show by it")
    attempt: int = 0
    told: bool = Field(default=False, description="Whether people are told of this change")
    queue: str
    backend: str | None = None
    group: str | None = None
    owner: str
    name: str | None = None
    stage: str | None = None
    progress: float | None = Field(default=None, ge=0, le=1)
    eta_seconds: float | None = None
    message: str | None = None
    by: str | None = Field(default=None, description="Who made the change: a subject, a worker or a service")
    created_at: datetime | None = None
    at: datetime = Field(description="When it happened, by the database's clock")
    links: dict[str, str] = Field(default_factory=dict)


class JobEvent(BaseModel):
    """A CloudEvent about a job. ``subject`` is the job's id."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "heliograph"
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None
    data: JobEventData

    @classmethod
    def of_change(cls, data: JobEventData, *, source: str = "heliograph", traceparent: str | None = None) -> "JobEvent":
        """Make the event of a change of state."""
        return cls(
            id=f"{data.id}:{data.seq}", source=source, type=TYPE_PREFIX + data.state, subject=data.id, time=data.at,
            traceparent=traceparent, data=data,
        )  # fmt: skip

    @classmethod
    def of_progress(
        cls, data: JobEventData, *, source: str = "heliograph", traceparent: str | None = None
    ) -> "JobEvent":
        """Make the event of a report of progress, which is no change of state and may be lost."""
        return cls(
            id=f"{data.id}:{data.seq}:{data.at.timestamp():.3f}", source=source, type=TYPE_PREFIX + "progress",
            subject=data.id, time=data.at, traceparent=traceparent, data=data,
        )  # fmt: skip

    @property
    def is_progress(self) -> bool:
        """Whether this reports progress rather than a change of state."""
        return self.type == TYPE_PREFIX + "progress"

    @property
    def word(self) -> str:
        """The state's word in the routing key: the state, or ``progress``."""
        return self.type.removeprefix(TYPE_PREFIX)

    def to_json(self) -> bytes:
        """Write the event in the CloudEvents JSON format; fields that are not set are left out."""
        return self.model_dump_json(exclude_none=True).encode()
