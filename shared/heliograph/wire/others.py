"""Backends, uploads and callers, as a client reads them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt


class BackendLimits(BaseModel):
    """How many of a backend's jobs run at a time, over all workers; null: any number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    per_owner: StrictInt | None = Field(default=None, ge=1, le=1_000_000, description="Of one submitter")


class BackendChange(BaseModel):
    """What is to be changed of a backend; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"paused": False, "limits": {"total": 4}}]}
    )

    paused: StrictBool = Field(default=False, description="While true, none of its jobs is begun")
    limits: BackendLimits | None = Field(
        default=None, description="In place of those that the backend states; null: those that it states"
    )


class BackendView(BaseModel):
    """What workers announced."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    title: str
    description: str
    parameters_schema: dict[str, Any] = Field(description="JSON Schema (draft 2020-12) of the parameters")
    roles: list[str] = Field(description="Roles that a submitter needs, all of them")
    timeout_seconds: float | None
    workers: int = Field(description="Workers seen of late; with none, jobs wait")
    last_seen: datetime | None
    limits: BackendLimits = Field(description="Those that hold: an operator's, else the backend's own")
    paused: bool = Field(description="While true, none of its jobs is begun; those that run go on")


class BackendPage(BaseModel):
    """All backends."""

    items: list[BackendView]
    next: None = None


class UploadView(BaseModel):
    """An uploaded file; a parameter of format ``heliograph-file`` takes its id."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    media_type: str
    bytes: int
    sha256: str
    created_at: datetime


class MeView(BaseModel):
    """Who the caller is."""

    model_config = ConfigDict(frozen=True)

    subject: str
    name: str | None
    roles: list[str]
    may: list[str] = Field(description="What these roles allow")
