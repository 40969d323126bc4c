"""Request metrics, by the route's template: never by path, which names jobs, nor by query, which may hold a token."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import Histogram

Scope = dict[str, Any]
Message = dict[str, Any]

SECONDS = Histogram(
    "heliograph_http_request_seconds",
    "Time to the start of the answer",
    ("method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 60),
)


class RequestMetrics:
    """An ASGI middleware that measures each request."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Serve a request and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        def measure(status: int) -> None:
            route = getattr(scope.get("route"), "path", "other")
            SECONDS.labels(scope["method"], route, status).observe(time.perf_counter() - began)

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                measure(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, measured)
        except Exception:
            measure(500)  # answered outside of this middleware
            raise
