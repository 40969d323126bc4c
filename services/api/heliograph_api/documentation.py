"""The OpenAPI document: what FastAPI finds, and the models of bodies that the routes read by themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from heliograph.wire import Submission


def document(app: FastAPI) -> None:
    """Let ``app`` describe itself in full."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            submission = Submission.model_json_schema(ref_template="#/components/schemas/{model}")
            models = schema["components"]["schemas"]
            models.update(submission.pop("$defs", {}))
            models[Submission.__name__] = submission
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the document
