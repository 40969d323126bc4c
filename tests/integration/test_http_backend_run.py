"""A remote data server in the whole: declared in a file, run by a worker, calling back at the api."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph_worker.app import Worker
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.settings import WorkerSettings
from tests.parts.api import Api, open_api, problem
from tests.parts.data_server import DataServer, Reply, data_server
from tests.parts.services import until_true

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = ("a key of links, of these tests and nothing else",)
TABLE = """
[http.spectra]
url = "{url}/run"
token_variable = "SPECTRA_TOKEN"
poll_seconds = 0.2
parameters = {{properties = {{source = {{type = "string"}}}}, required = ["source"]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=KEYS) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as served:
        yield served


@asynccontextmanager
async def working(api: Api, server: DataServer, folder: Path) -> AsyncIterator[None]:
    """Run a worker whose operator declares this server."""
    declared = folder / "backends.toml"
    declared.write_text(TABLE.format(url=server.url))
    settings = WorkerSettings(
        mongodb_url="mongodb://unused", bus_url="memory://", scratch=folder / "scratch", slots=2, metrics_port=None,
        worker_name="worker of the tests", grace_seconds=5, drain_seconds=5, keep_variables="SPECTRA_TOKEN",
        link_keys=KEYS, public_url=api.url,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPECTRA_TOKEN", "s3cret-of-the-archive")
        catalogue = Catalogue.of([], declared)
        assert not catalogue.broken
        async with Worker(settings, catalogue=catalogue, database=api.database, bus=api.bus):
            yield


async def submitted(api: Api) -> dict[str, Any]:
    return await api.submit(backend="spectra", parameters={"source": "Crab"})


async def test_a_data_server_calls_back_until_it_is_done(api: Api, server: DataServer, tmp_path: Path) -> None:
    server.plans |= {"/run": Reply(202), "/crab.csv": Reply(200, b"1,2\n", {"Content-Type": "text/csv"})}
    async with working(api, server, tmp_path), httpx.AsyncClient() as outside:
        problem(await api.ada.post("/v1/jobs", json={"backend": "spectra", "parameters": {}}), 422, "parameters.source")
        job = await submitted(api)
        await until_true(lambda: server.asked)
        asked = server.asked[0]
        assert asked.headers["authorization"] == "Bearer s3cret-of-the-archive"
        assert (asked.body["job"], asked.body["parameters"]) == (job["id"], {"source": "Crab"})
        address = asked.body["callback"]
        assert address.startswith(f"{api.url}/v1/callbacks/")
        assert (
            await outside.get(address, params={"action": "progress", "progress": 0.5, "stage": "folding"})
        ).is_success
        seen: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while seen.get("progress") != 0.5:
                seen = (await api.ada.get(f"/v1/jobs/{job['id']}")).json()
                await asyncio.sleep(0.05)
        assert seen["stage"] == "folding"
        done = {"state": "done", "result": {"flux": 1}, "result_url": "/crab.csv"}
        assert (await outside.post(address, json=done)).json() == {"accepted": True}
        over = await api.over(job)
        assert (over["state"], over["result"]) == ("done", {"flux": 1})
        assert [each["name"] for each in over["artifacts"]] == ["crab.csv"]
        problem(await outside.post(address, json=done), 403)
        log = (await api.ada.get(f"/v1/jobs/{job['id']}/log")).text
        assert address not in str(over) + log


async def test_a_cancelled_job_is_stopped_at_its_data_server(api: Api, server: DataServer, tmp_path: Path) -> None:
    server.plans |= {"/run": Reply(202, {"status_url": "/jobs/7"}), "/jobs/7": Reply(200, {"state": "running"})}
    async with working(api, server, tmp_path), httpx.AsyncClient() as outside:
        job = await submitted(api)
        await until_true(lambda: "GET /jobs/7" in server.methods())
        assert (await api.ada.post(f"/v1/jobs/{job['id']}/cancel")).is_success
        assert (await api.over(job))["state"] == "cancelled"
        assert "DELETE /jobs/7" in server.methods()
        problem(await outside.post(server.asked[0].body["callback"], json={"state": "done"}), 403)
        assert (await api.over(job))["state"] == "cancelled"
