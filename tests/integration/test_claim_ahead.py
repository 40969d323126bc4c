"""A worker of short jobs claims more than it has slots for, and gives back what then has to wait."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.backends_for_tests.asking import SOURCES
from tests.parts.api import Api, open_api
from tests.parts.notifier import until


@pytest.fixture
async def api(mongodb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An api and a worker of two slots, which has just done thirty short jobs, short however busy the machine is."""
    monkeypatch.setattr("heliograph_worker.capacity.AHEAD", timedelta(seconds=30))
    monkeypatch.setattr("heliograph_worker.capacity.LONG", timedelta(seconds=2))
    names = [source.removeprefix("tests.backends_for_tests.") for source in SOURCES]
    async with open_api(mongodb_url) as api, api.worker(tmp_path / "scratch", *names):
        short = {"backend": "square", "parameters": {"number": 2}, "notify": False}
        items = (await api.ada.post("/v1/jobs/batch", json={"jobs": [short] * 30})).json()["items"]
        for item in items:
            await api.over(item["job"])
        yield api


async def test_short_jobs_behind_long_ones_go_back_and_lose_no_attempt(api: Api, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    long = {"backend": "hold", "parameters": {"folder": str(gate)}}
    short = {"backend": "square", "parameters": {"number": 3}}
    items = (await api.ada.post("/v1/jobs/batch", json={"jobs": [long] * 2 + [short] * 12})).json()["items"]
    ids = [item["job"]["id"] for item in items]

    async def states() -> list[str]:
        found = {job["_id"]: str(job["state"]) async for job in api.jobs.find({"_id": {"$in": ids}}, {"state": 1})}
        return [found[each] for each in ids]

    async def only_the_long_ones_run() -> bool:
        return await states() == ["running"] * 2 + ["queued"] * 12

    await until(only_the_long_ones_run)
    claimed_once = await api.jobs.count_documents({"_id": {"$in": ids[2:]}, "seq": {"$gt": 1}})
    assert claimed_once, "nothing was claimed ahead, so that this shows nothing"
    gate.mkdir()
    ended = [await api.over(item["job"]) for item in items]
    assert [(job["state"], job["attempt"]) for job in ended] == [("done", 1)] * 14


async def test_what_waits_for_a_slot_can_be_cancelled(api: Api, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    long = {"backend": "hold", "parameters": {"folder": str(gate)}}
    items = (await api.ada.post("/v1/jobs/batch", json={"jobs": [long] * 3})).json()["items"]
    last = items[-1]["job"]
    await api.ada.post(f"/v1/jobs/{last['id']}/cancel")
    over = await api.over(last)
    assert (over["state"], over["error"]["kind"]) == ("cancelled", "cancelled")
    gate.mkdir()
    assert [(await api.over(item["job"]))["state"] for item in items[:2]] == ["done"] * 2


async def test_a_worker_that_closes_hands_back_at_once_what_waits_for_a_slot(mongodb_url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    names = [source.removeprefix("tests.backends_for_tests.") for source in SOURCES]
    async with open_api(mongodb_url) as api:
        async with api.worker(tmp_path / "scratch", *names):
            short = {"backend": "square", "parameters": {"number": 2}, "notify": False}
            for item in (await api.ada.post("/v1/jobs/batch", json={"jobs": [short] * 30})).json()["items"]:
                await api.over(item["job"])
            long = {"backend": "hold", "parameters": {"folder": str(gate)}}
            await api.ada.post("/v1/jobs/batch", json={"jobs": [long] * 2 + [short] * 12})

            async def long_ones_run() -> bool:
                return await api.stored(state="running", queue="hold") == 2

            await until(long_ones_run)
        left = [job async for job in api.jobs.find({"state": {"$ne": "done"}}, {"state": 1, "attempt": 1})]
        assert [(job["state"], job["attempt"]) for job in left] == [("queued", 0)] * 14
