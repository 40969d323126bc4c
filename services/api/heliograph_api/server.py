"""The web server of the api."""

import socket

import uvicorn
from fastapi import FastAPI
from typing_extensions import override


class Server(uvicorn.Server):
    """Serves one app; at its end it lets those go who wait for a job, and does not wait for them."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.parts.waiting.release()
        await super().shutdown(sockets)
