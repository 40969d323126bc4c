"""Backends are paused, resumed and limited while they are in use."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.announcements import Announcements
from heliograph.client import Client
from heliograph.jobs.limits import Limits
from heliograph.wire import BackendView
from tests.integration.test_cli import run
from tests.parts.api import Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> AsyncIterator[Api]:
    yield opened
    await opened.client("root@example.org", "admin").patch("/v1/backends/sum", json={"paused": False, "limits": None})


async def change(client: httpx.AsyncClient, **fields: Any) -> BackendView:
    answer = await client.patch("/v1/backends/sum", json=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    return BackendView.model_validate(answer.json())


async def test_only_who_runs_the_platform_pauses(api: Api) -> None:
    for role, may in (
        ("user", False), ("job manager", False), ("agent", False),
        ("operator", True), ("queue manager", True), ("admin", True),
    ):  # fmt: skip
        client = api.client("x@example.org", role)
        for method, path, body in (
            ("POST", "/v1/backends/sum/pause", None), ("POST", "/v1/backends/sum/resume", None),
            ("PATCH", "/v1/backends/sum", {"paused": False}),
        ):  # fmt: skip
            answer = await client.request(method, path, json=body)
            assert answer.status_code == (httpx.codes.OK if may else httpx.codes.FORBIDDEN), (role, path)
    problem(await api.bearer(None).post("/v1/backends/sum/pause"), 401)


async def test_a_paused_backend_begins_nothing_and_goes_on_at_once(api: Api, tmp_path: Path) -> None:
    olga = api.client("olga@example.org", "operator")
    paused = BackendView.model_validate((await olga.post("/v1/backends/sum/pause")).json())
    assert paused.paused
    async with api.worker(tmp_path, "good:add", "good:where"):
        job, other = await api.submit(), await api.submit(backend="where", parameters={})
        assert (await api.over(other))["state"] == "done"  # the worker is there
        assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued"
        await Announcements(api.database).announce(await stated(api))  # a worker that starts does not end the pause
        assert (await api.ada.get("/v1/backends/sum")).json()["paused"] is True
        assert not (await change(olga, paused=False)).paused
        assert (await api.over(job))["state"] == "done"


async def stated(api: Api) -> list[Any]:
    from heliograph_worker.catalogue import Catalogue
    from tests.backends_for_tests import SOURCES

    return list(Catalogue.of(SOURCES).backends.values())


async def test_limits_are_set_in_place_of_the_stated_ones_and_taken_back(api: Api) -> None:
    olga = api.client("olga@example.org", "operator")
    before = BackendView.model_validate((await api.ada.get("/v1/backends/sum")).json())
    changed = await change(olga, limits={"total": 4, "per_owner": 1})
    assert (changed.limits.total, changed.limits.per_owner, changed.paused) == (4, 1, False)
    announcements = Announcements(api.database)
    await announcements.announce(await stated(api))
    assert await announcements.open(["sum"]) == {"sum": Limits(4, 1)}
    changed = await change(olga, limits={"total": 2}, paused=True)
    assert (changed.limits.total, changed.limits.per_owner, changed.paused) == (2, None, True)
    assert await announcements.open(["sum"]) == {}
    assert (await change(olga)).limits.total == 2  # what is left out stays
    assert (await change(olga, limits=None)).limits == before.limits


@pytest.mark.parametrize(
    ("body", "field"),
    [({"paused": "yes"}, "paused"), ({"paused": None}, "paused"), ({"pause": True}, "pause"),
     ({"limits": {"total": 0}}, "limits.total"), ({"limits": {"total": "4"}}, "limits.total"),
     ({"limits": {"most": 4}}, "limits.most"), ({"limits": 4}, "limits"), ([], "")],
)  # fmt: skip
async def test_a_change_of_nonsense_names_its_field(api: Api, body: Any, field: str) -> None:
    olga = api.client("olga@example.org", "operator")
    problem(await olga.patch("/v1/backends/sum", json=body), 422, field)
    assert (await api.ada.get("/v1/backends/sum")).json()["paused"] is False


async def test_there_is_nothing_to_pause_in_a_backend_that_nobody_announced(api: Api) -> None:
    olga = api.client("olga@example.org", "operator")
    problem(await olga.post("/v1/backends/none/pause"), 404)
    problem(await olga.post("/v1/backends/none/resume"), 404)
    problem(await olga.patch("/v1/backends/none", json={"paused": True}), 404)
    problem(await olga.patch("/v1/backends/none", json={"limits": {"total": 1}}), 404)
    problem(await olga.patch("/v1/backends/none", json={}), 404)


async def test_the_command_line_pauses_lists_and_replays(api: Api) -> None:
    token = api.client("olga@example.org", "operator").headers["authorization"].removeprefix("Bearer ")
    assert "sum is paused; limits: none" in await run(api, "pause", "sum", HELIOGRAPH_TOKEN=token)
    assert "sum is open" in await run(api, "resume", "sum", HELIOGRAPH_TOKEN=token)
    job = (await api.submit())["id"]
    failure = {"kind": "lost", "message": "its worker was lost", "traceback": None}
    await api.jobs.update_one(
        {"_id": job}, [{"$set": {"state": "failed", "error": failure, "ended_at": "$$NOW", "attempt": 3}}]
    )
    listed = await run(api, "dead", "--kind", "job", HELIOGRAPH_TOKEN=token)
    assert job in listed
    assert "given up after 3 attempts: the last was lost with its worker" in listed
    assert "queued again" in await run(api, "replay", job, HELIOGRAPH_TOKEN=token)
    assert "was not given up" in await run(api, "replay", job, HELIOGRAPH_TOKEN=token, code=1)
    assert "your roles do not allow you" in await run(api, "dead", code=1)


async def test_the_client_limits_a_backend(api: Api) -> None:
    token = api.client("olga@example.org", "operator").headers["authorization"].removeprefix("Bearer ")

    def limit() -> BackendView:
        with Client(api.url, token) as client:
            assert list(client.dead(kind="event")) == []
            return client.change_backend("sum", limits={"total": 3})

    assert (await asyncio.to_thread(limit)).limits.total == 3
