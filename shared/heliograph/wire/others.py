"""Backends, uploads and callers, as a client reads them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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
