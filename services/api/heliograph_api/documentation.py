"""The OpenAPI document: what FastAPI finds, and what it cannot see.

It cannot see the bodies that routes read by themselves, and it takes its own form of a validation error for granted.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from heliograph.wire import (
    ClaimRequest,
    LeaseRequest,
    Problem,
    QueueDeclaration,
    ReleaseRequest,
    ReportRequest,
    Submission,
    TokenRequest,
)
from heliograph.wire.bulletins import IncidentRequest, NoticeTestRequest
from heliograph.wire.groups import Batch
from heliograph.wire.others import BackendChange
from heliograph.wire.preferences import MatrixUserRequest, NotificationPreferences
from heliograph.wire.silence import MuteRequest, WatchRequest

_OF_QUEUES = (QueueDeclaration, ClaimRequest, ReportRequest, LeaseRequest, ReleaseRequest, TokenRequest)
_OF_NOTICES = (
    NotificationPreferences, MatrixUserRequest, MuteRequest, WatchRequest, IncidentRequest, NoticeTestRequest,
)  # fmt: skip
_NOT_OURS = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> None:
    """Let ``app`` describe itself in full."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            models = schema["components"]["schemas"]
            for model in (Submission, Batch, BackendChange, Problem, *_OF_QUEUES, *_OF_NOTICES):
                _add(models, model)
            for operation in (each for path in schema["paths"].values() for each in path.values()):
                if _NOT_OURS[0] in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            for name in _NOT_OURS:
                models.pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the document


def _add(models: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    models.update(schema.pop("$defs", {}))
    models[model.__name__] = schema
