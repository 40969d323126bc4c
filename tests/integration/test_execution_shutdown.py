"""A worker that stops hands its jobs back, which costs them nothing, and ends in bounded time, database or not."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.model import Job, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.storage import Database
from heliograph_standalone.mongod import Mongod
from heliograph_worker.app import Worker
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.settings import WorkerSettings
from tests.backends_for_tests import SOURCES, environment, until
from tests.parts.jobs import Stores, open_stores

END_SECONDS = 60.0  # a stop without the database takes what the tests allow it, and the driver's own patience


class Shop:
    """Workers, one after the other, and the stores that they work on."""

    def __init__(self, stores: Stores, database: Database, settings: WorkerSettings) -> None:
        self.stores = stores
        self._database = database
        self._settings = settings
        self._ends = AsyncExitStack()

    async def start(self) -> None:
        """Start a worker."""
        bus = await self._ends.enter_async_context(MemoryBus())
        worker = Worker(self._settings, catalogue=Catalogue.of(SOURCES), database=self._database, bus=bus)
        await self._ends.enter_async_context(worker)

    async def stop(self) -> None:
        """Stop it, as SIGTERM does."""
        async with asyncio.timeout(END_SECONDS):
            await self._ends.aclose()

    async def hanging(self, begun: Path, **fields: Any) -> Job:
        """Submit a job that does not end by itself, and return once its code runs."""
        parameters = {"file": str(begun)}
        job = await self.stores.submit(queue="hang", backend="hang", parameters=parameters, **fields)
        await until(begun.exists)
        return job


@asynccontextmanager
async def open_shop(
    folder: Path, mongodb_url: str, database_name: str, *, drain_seconds: float = 0.2
) -> AsyncIterator[Shop]:
    settings = WorkerSettings.model_validate(
        {
            "mongodb_url": mongodb_url, "bus_url": "memory://", "worker_name": "worker", "slots": 2,
            "scratch": folder / "scratch", "drain_seconds": drain_seconds, "grace_seconds": 20, "metrics_port": None,
        }
    )  # fmt: skip
    async with open_stores(mongodb_url, database_name) as stores, Database(mongodb_url, database_name) as database:
        shop = Shop(stores, database, settings)
        await shop.start()
        yield shop
        await shop.stop()


@pytest.fixture(autouse=True)
def children_find_the_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


@pytest.fixture
def mongod(tmp_path: Path, mongodb_url: str) -> Iterator[Mongod]:
    """A mongod of this test alone; asking for the shared one first skips where there is none."""
    with Mongod(tmp_path / "mongod") as mongod:
        mongod.start()
        yield mongod


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_job_that_is_handed_back_waits_as_if_it_had_not_begun(
    tmp_path: Path, mongodb_url: str, database_name: str, max_attempts: int
) -> None:
    async with open_shop(tmp_path, mongodb_url, database_name) as shop:
        job = await shop.hanging(tmp_path / "begun", max_attempts=max_attempts)
        await shop.stop()
        handed_back = await shop.stores.jobs.get(job.id)
        assert (handed_back.state, handed_back.attempt, handed_back.error) == (State.QUEUED, 0, None)
        assert (await shop.stores.stored(job))["due"] is True
        assert await shop.stores.story(job) == ["queued", "running", "queued"]


async def test_a_job_that_somebody_wishes_to_cancel_is_not_handed_back(
    tmp_path: Path, mongodb_url: str, database_name: str
) -> None:
    async with open_shop(tmp_path, mongodb_url, database_name) as shop:
        job = await shop.hanging(tmp_path / "begun")
        await shop.stores.jobs.cancel(job.id, "ada")
        await shop.stop()
        cancelled = await shop.stores.jobs.get(job.id)
        assert cancelled.state is State.CANCELLED
        assert cancelled.error == JobError(ErrorKind.CANCELLED, "cancelled on request")


async def test_what_two_workers_logged_of_one_attempt_is_in_order(
    tmp_path: Path, mongodb_url: str, database_name: str
) -> None:
    begun = tmp_path / "begun"
    async with open_shop(tmp_path, mongodb_url, database_name) as shop:
        job = await shop.hanging(begun)
        await shop.stop()
        logs = shop.stores.database.collection("logs")
        (first,) = await logs.find({"job": job.id}).to_list(10)
        begun.unlink()
        await shop.start()
        await until(begun.exists)
        await shop.stop()
        chunks = await logs.find({"job": job.id}).sort("n", 1).to_list(10)
        assert [bytes(chunk["data"]) for chunk in chunks] == [b"stopping: True\n"] * 2
        assert chunks[0]["attempt"] == chunks[1]["attempt"] == 1
        assert chunks[0]["_id"] == first["_id"]


async def test_a_worker_ends_although_the_database_is_away_for_what_it_hands_back(
    tmp_path: Path, mongod: Mongod, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph_worker.attempt.HAND_BACK_SECONDS", 1.0, raising=False)
    with capture_logs() as said:
        async with open_shop(tmp_path, mongod.url, database_name) as shop:
            job = await shop.hanging(tmp_path / "begun")
            await asyncio.to_thread(mongod.kill)
            await shop.stop()
            await asyncio.to_thread(mongod.start)
            assert (await shop.stores.jobs.get(job.id)).state is State.RUNNING  # until its lease has run out
    assert warned(said) == [job.id]


async def test_a_result_that_waits_for_the_database_is_given_up_with_a_warning(
    tmp_path: Path, mongod: Mongod, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph_worker.attempt.RESULT_SECONDS", 1.0, raising=False)
    with capture_logs() as said:
        async with open_shop(tmp_path, mongod.url, database_name, drain_seconds=2) as shop:
            parameters = {"folder": str(tmp_path)}
            job = await shop.stores.submit(queue="progress", backend="progress", parameters=parameters)
            while (await shop.stores.jobs.get(job.id)).stage != "reading":  # noqa: ASYNC110 - the database sets no event
                await asyncio.sleep(0.01)
            await asyncio.to_thread(mongod.kill)
            (tmp_path / "seen").touch()  # its code ends while the worker drains
            await shop.stop()
            await asyncio.to_thread(mongod.start)
            assert (await shop.stores.jobs.get(job.id)).state is State.RUNNING
    assert warned(said) == [job.id]


def warned(said: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line["job"] for line in said if line["event"] == "stopped without the database: the job runs again"]
