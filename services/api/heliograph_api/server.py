"""The web server of the api."""

import socket

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from heliograph_api.settings import ApiSettings

KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 10


def config(app: FastAPI, settings: ApiSettings) -> uvicorn.Config:
    """Return how the app is served, wherever it is."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,  # a query string may hold a token; the metrics count requests by route
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )


class Server(uvicorn.Server):
    """Serves one app; at its end it lets those go who wait for a job, and does not wait for them."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.parts.waiting.release()
        await super().shutdown(sockets)
