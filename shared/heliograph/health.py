"""Health and metrics of a service without a web framework: ``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Self

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Ready = Callable[[], tuple[bool, Mapping[str, Any]]]

MOST_HEAD_BYTES = 8 * 1024  # a probe's request is a few hundred bytes
REQUEST_SECONDS = 5.0  # who connects and says nothing is let go
_JSON = "application/json"


class HealthServer:
    """Answers probes and scrapes; used as an asynchronous context manager.

    ``/healthz`` says that the event loop turns. ``/readyz`` asks ``ready``, which returns whether the service can do
    its work and what it knows of its parts: 200 where it can (also where it is degraded), else 503. ``/metrics`` is
    Prometheus' text format. With port 0 a free one is taken; ``port`` tells which.
    """

    def __init__(self, host: str, port: int, ready: Ready) -> None:
        self.host = host
        self.port = port
        self._ready = ready
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=MOST_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                status, media_type, body = self._answer(method, rest.partition(" ")[0].partition("?")[0])
                writer.write(_head(status, media_type, len(body)) + (b"" if method == "HEAD" else body))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # whoever asked has gone, or does not speak HTTP
        finally:
            writer.close()

    def _answer(self, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, _JSON, orjson.dumps({"status": "method not allowed"})
        if path == "/healthz":
            return HTTPStatus.OK, _JSON, orjson.dumps({"status": "ok"})
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
        if path == "/readyz":
            return self._readiness()
        return HTTPStatus.NOT_FOUND, _JSON, orjson.dumps({"status": "not found"})

    def _readiness(self) -> tuple[HTTPStatus, str, bytes]:
        is_ready, parts = self._ready()
        return (HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE), _JSON, orjson.dumps(dict(parts))


def _head(status: HTTPStatus, media_type: str, length: int) -> bytes:
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {media_type}",
        f"Content-Length: {length}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
