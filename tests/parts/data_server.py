"""A data server of the tests, which answers as a test says and keeps what it was asked; and a backend that uses it."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from heliograph.backends import Backend
from heliograph.testing import Run, run
from heliograph_worker.backends.http import HttpTable, make

PARAMETERS = {"source": "Crab", "band": [20.0, 40.0]}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: ``body`` as bytes, or a JSON value; None for none."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its method, path, headers in lower case, and JSON body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Plan = Reply | list[Reply] | Callable[[Asked], Reply]


class DataServer:
    """A server on loopback; ``plans`` says what is at each path: one answer, several in turn, or a function."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port: int = server.server_address[1]
        self.plans: dict[str, Plan] = {}
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """Return what was asked, such as ``POST /run``."""
        return [f"{each.method} {each.path}" for each in self.asked]

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        plan = self.plans.get(asked.path, Reply(404, {"detail": "there is nothing here"}))
        if isinstance(plan, list):
            return plan.pop(0) if len(plan) > 1 else plan[0]
        return plan if isinstance(plan, Reply) else plan(asked)


@contextmanager
def data_server(**server_options: Any) -> Iterator[DataServer]:
    """Run a server; ``wrap`` may replace its socket, for TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("content-length", 0))
            text = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = served.answer(Asked(self.command, self.path, headers, json.loads(text) if text else None))
            self.send_response(reply.status)
            named = {name.lower() for name in reply.headers}
            if "content-type" not in named and reply.body is not None:
                self.send_header(
                    "Content-Type", "application/octet-stream" if isinstance(reply.body, bytes) else "application/json"
                )
            self.send_header("Content-Length", str(len(reply.content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - as the library calls them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: a client that had enough hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if wrap := server_options.get("wrap"):
            server.socket = wrap(server.socket)
        served = DataServer(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def backend_of(server: DataServer, **keys: Any) -> Backend:
    """Return a backend of this server, as an operator's table declares it."""
    given = {"url": f"{server.url}/run", "poll_seconds": 0.02} | keys
    return make("spectra", HttpTable.model_validate_json(json.dumps(given)))


def ask(server: DataServer, plan: Plan | None = None, callbacks: Iterable[dict[str, Any]] = (), **keys: Any) -> Run:
    """Run a job of such a backend; ``plan`` is what the server answers to it first."""
    if plan is not None:
        server.plans["/run"] = plan
    return run(backend_of(server, **keys), PARAMETERS, callbacks=callbacks, echo=False)


def failure(done: Run) -> tuple[str, str]:
    """Return the kind of the error that ended a run, and its message."""
    assert done.error is not None, done.result
    return done.error.kind.value, done.error.message


def leads_to(place: str, status: int = 302) -> Reply:
    return Reply(status, None, {"Location": place})
