"""The api as a test runs it: the real application behind a real server, on a real database, on a bus of the process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from heliograph.announcements import Announcements
from heliograph.bus.memory import MemoryBus
from heliograph.events.model import JobEvent
from heliograph.identity.tokens import Tokens
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Collection, Database
from heliograph_api.app import create_app
from heliograph_api.settings import ApiSettings
from heliograph_worker.app import Worker
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.settings import WorkerSettings
from tests.backends_for_tests import SOURCES
from tests.parts.databases import lent

KEY = "a signing key of the tests and of nothing else"
OLD_KEY = "the signing key of yesterday which still verifies"
ADA, BOB = "ada@example.org", "bob@example.org"
SUM = {"backend": "sum", "parameters": {"left": 2, "right": 3}}
_START_SECONDS = 60.0
_OVER_SECONDS = 100.0


class Api:
    """A running api."""

    def __init__(self, app: FastAPI, url: str, settings: ApiSettings, database: Database, bus: MemoryBus) -> None:
        self.app = app
        self.url = url
        self.settings = settings
        self.database = database
        self.bus = bus
        self.told: list[JobEvent] = []
        self._clients = AsyncExitStack()
        self.ada = self.client(ADA)
        self.bob = self.client(BOB)

    def client(self, subject: str | None, *roles: str, key: str = KEY, **claims: object) -> httpx.AsyncClient:
        """Return a client for somebody; None shows no token."""
        token = Tokens([key]).sign(subject, lifetime=timedelta(hours=1), roles=roles, **claims) if subject else None
        return self.bearer(token)

    def bearer(self, token: str | None) -> httpx.AsyncClient:
        """Return a client that shows this token. None of its answers may be a 500."""
        client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}".strip()} if token is not None else {},
            event_hooks={"response": [_no_defect]},
            timeout=30,
        )
        self._clients.push_async_callback(client.aclose)
        return client

    @property
    def jobs(self) -> Collection:
        return self.database.collection(JOBS)

    async def stored(self, **where: Any) -> int:
        """Return how many jobs are stored."""
        return int(await self.jobs.count_documents(where))

    async def announce(self, sources: Iterable[str] = SOURCES) -> None:
        """Let the tests' backends be known, without a worker."""
        await Announcements(self.database).announce(Catalogue.of(sources).backends.values())

    async def submit(self, who: httpx.AsyncClient | None = None, **fields: Any) -> dict[str, Any]:
        """Submit a sum, and return the job."""
        answer = await (who or self.ada).post("/v1/jobs", json=SUM | fields)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return dict(answer.json())

    async def over(self, job: dict[str, Any], who: httpx.AsyncClient | None = None) -> dict[str, Any]:
        """Return the job once it is over."""
        async with asyncio.timeout(_OVER_SECONDS):
            while True:
                answer = await (who or self.ada).get(f"/v1/jobs/{job['id']}", params={"wait": 25})
                if (found := dict(answer.json())).get("ended_at") or not answer.is_success:
                    break
        assert answer.is_success, answer.text
        return found

    @asynccontextmanager
    async def worker(
        self, scratch: Path, *backends: str, seal_keys: tuple[str, ...] | None = None
    ) -> AsyncIterator[None]:  # fmt: skip
        """Run a worker with these backends of the tests (``good:add``), and with the api's keys unless given others."""
        settings = WorkerSettings(
            mongodb_url="mongodb://unused", bus_url="memory://", scratch=scratch, slots=2, metrics_port=None,
            worker_name="worker of the tests", grace_seconds=1, drain_seconds=5, keep_variables="PYTHONPATH",
            identity_key=self.settings.identity_key, link_keys=self.settings.link_keys, lease_seconds=30,
            public_url=self.url, seal_keys=seal_keys or self.settings.seal_keys,
        )  # fmt: skip
        catalogue = Catalogue.of([f"tests.backends_for_tests.{backend}" for backend in backends])
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where the jobs' processes find backends
            async with Worker(settings, catalogue=catalogue, database=self.database, bus=self.bus):
                yield

    async def close(self) -> None:
        await self._clients.aclose()

    async def tell(self, event: JobEvent) -> None:
        """Take a told event as the notifier does; without a subscriber none leaves the outbox."""
        self.told.append(event)


@asynccontextmanager
async def open_api(mongodb_url: str, **settings: Any) -> AsyncIterator[Api]:
    """Run an api on a database of its own."""
    async with AsyncExitStack() as stack:
        name = stack.enter_context(lent(mongodb_url))
        chosen = ApiSettings(
            **{
                "mongodb_url": mongodb_url, "mongodb_database": name, "bus_url": "memory://",
                "signing_keys": (KEY, OLD_KEY), "identity_key": "a key for hashes, of the tests and nothing else",
            }
            | settings
        )  # fmt: skip
        database = await stack.enter_async_context(Database(mongodb_url, name))
        bus = await stack.enter_async_context(MemoryBus())
        app = create_app(chosen, database=database, bus=bus)
        api = Api(app, await stack.enter_async_context(_served(app)), chosen, database, bus)
        told = await bus.subscribe_told(api.tell)
        async with asyncio.timeout(_START_SECONDS):
            while (await api.ada.get("/readyz")).status_code != httpx.codes.OK:  # noqa: ASYNC110 - only HTTP tells
                await asyncio.sleep(0.02)
        await api.announce()
        try:
            yield api
        finally:
            await api.close()
            await told.close()


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2, http="httptools"
    )
    server = uvicorn.Server(config)
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # asyncio tells TCP not to wait by the protocol's number
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # now, so that who connects before the server runs waits for it
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def _no_defect(answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
        await answer.aread()
        raise AssertionError(f"a defect: {answer.request.method} {answer.request.url}: {answer.text}")


def problem(answer: httpx.Response, status: int, field: str | None = None) -> dict[str, Any]:
    """Check that an answer is a problem of this status that names this field, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["type"].startswith("urn:heliograph:problem:")
    if field is not None:
        assert field in [fault["field"] for fault in body["errors"]], body
    return body
