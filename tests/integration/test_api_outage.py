"""MongoDB away: the api refuses with a 503 that says when to come again, stays alive, and goes on by itself."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from heliograph_standalone.mongod import Mongod
from tests.parts.api import SUM, Api, open_api, problem
from tests.parts.freezing import freeze

# The driver looks for a server for 2 s, and a submission is tried twice; a frozen server is noticed after 4 s.
A_FEW_SECONDS = 25.0
TRIES = 5  # of which one is as quick as it should be, however busy the machine is


def freeze_database(mongod: Mongod) -> None:
    assert mongod.pid
    freeze(mongod.pid)


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[Mongod]:
    with Mongod(tmp_path) as own:
        yield own


@pytest.mark.faults
@pytest.mark.parametrize(
    ("away", "back"), [(Mongod.stop, Mongod.start), (freeze_database, Mongod.resume)], ids=["stopped", "frozen"]
)
async def test_it_refuses_while_the_database_is_away(
    mongod: Mongod, away: Callable[[Mongod], None], back: Callable[[Mongod], None]
) -> None:
    async with open_api(mongod.url) as api:
        job = await api.submit()
        await asyncio.to_thread(away, mongod)
        await refused(api, job["id"])  # nobody knows yet
        assert (await status(api, "/healthz")) == httpx.codes.OK
        await until(api, httpx.codes.SERVICE_UNAVAILABLE)
        took = [await refused(api, job["id"])]
        while min(took) >= 2 and len(took) < TRIES:
            took.append(await refused(api, job["id"]))
        assert min(took) < 2, took  # known: at once
        assert (await api.ada.get("/readyz")).json() == {"status": "unavailable", "mongodb": False, "bus": True}
        await asyncio.to_thread(back, mongod)
        await until(api, httpx.codes.OK)
        again = await api.ada.post("/v1/jobs", json=SUM, headers={"Idempotency-Key": "while away"})
        assert again.status_code in {httpx.codes.CREATED, httpx.codes.OK}
        assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued"
        assert await api.stored(**{"idempotency.key": "while away"}) == 1


async def refused(api: Api, job: str) -> float:
    """Ask for several things at a time, see each refused in time, and return in how many seconds that was."""
    key = {"Idempotency-Key": "while away"}
    began = time.monotonic()
    answers = await asyncio.gather(
        api.ada.post("/v1/jobs", json=SUM, headers=key), api.ada.get("/v1/jobs"), api.ada.get(f"/v1/jobs/{job}"),
        api.ada.get(f"/v1/jobs/{job}?wait=20"), api.ada.get(f"/v1/jobs/{job}/log"),
        api.ada.post(f"/v1/jobs/{job}/cancel"),
        api.ada.get("/v1/backends"), api.ada.post("/v1/uploads", content=b"x"),
    )  # fmt: skip
    took = time.monotonic() - began
    assert took < A_FEW_SECONDS
    for answer in answers:
        found = problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        assert "again" in found["detail"]
    return took


async def until(api: Api, wanted: int) -> None:
    async with asyncio.timeout(60):
        while await status(api, "/readyz") != wanted:  # noqa: ASYNC110 - only HTTP tells
            await asyncio.sleep(0.05)


async def status(api: Api, path: str) -> int:
    return (await api.ada.get(path)).status_code
