"""Answers as JSON, and how errors stand in the OpenAPI document."""

from typing import Any

import orjson
from starlette.responses import Response

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_WORDS = {
    400: "The body is not JSON",
    401: "The token is missing, expired or not valid",
    403: "The caller's roles do not suffice",
    404: "There is none, or it is not the caller's",
    409: "The present state does not allow it",
    413: "The body is too large",
    422: "A field is wrong; `errors` names it",
    429: "This was done too often of late; try again later",
    503: "The database is away; try again, with the same Idempotency-Key",
}


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Write a JSON answer; times become RFC 3339 in UTC."""
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), status, headers, "application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route, for the OpenAPI document."""
    return {status: {"description": _WORDS[status], "content": _PROBLEM} for status in (*statuses, 503)}
