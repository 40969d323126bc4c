"""A function on its way from the client through the api to a worker, and its result on the way back."""

import asyncio
import math
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from heliograph.client import Client, ProblemError
from heliograph_worker.app import Worker
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.settings import WorkerSettings
from tests.parts.api import Api, open_api

TABLES = '[call]\nfunctions = ["math:hypot"]\n[function]\nuser = "nobody"\nroles = ["trusted"]\n'


@pytest.fixture
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may pass through, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
async def worker(api: Api, place: Path) -> AsyncIterator[None]:
    file = place / "backends.toml"
    file.write_text(TABLES)
    settings = WorkerSettings(
        mongodb_url="mongodb://unused", bus_url="memory://", scratch=place / "scratch", slots=1, metrics_port=None,
        worker_name="worker of the tests", grace_seconds=1, drain_seconds=5,
    )  # fmt: skip
    async with Worker(settings, catalogue=Catalogue.of([], file), database=api.database, bus=api.bus):
        yield


def client_of(api: Api, *roles: str) -> Client:
    who = api.client("ada", *roles)
    return Client(api.url, who.headers["authorization"].removeprefix("Bearer "))


async def test_a_listed_function_is_called(api: Api, worker: None) -> None:
    def work() -> None:
        with client_of(api) as client:
            job = client.call(math.hypot, 3, 4)
            assert (job.backend, client.wait(job.id, seconds=60).result) == ("call", 5.0)
            with pytest.raises(ProblemError, match="function"):
                client.call(math.atan2, 1, 1)

    await asyncio.to_thread(work)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs jobs as another user")
async def test_a_function_itself_is_run_for_those_who_may(api: Api, worker: None) -> None:
    base = 40

    def work() -> None:
        with client_of(api, "trusted") as client:
            job = client.submit_function(lambda more, *, times: (base + more) * times, 2, times=2)
            assert client.wait(job.id, seconds=60).result == 84
        with client_of(api) as client, pytest.raises(ProblemError) as caught:
            client.submit_function(lambda: 1)
        assert caught.value.problem.status == 403

    await asyncio.to_thread(work)
