"""The trace that a request belongs to."""

import re

from fastapi import Request

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, version 00


def traceparent(request: Request) -> str | None:
    """Return the request's ``traceparent``; None where it has none, or one of nonsense."""
    header = request.headers.get("traceparent", "")
    return header if _TRACEPARENT.fullmatch(header) else None
