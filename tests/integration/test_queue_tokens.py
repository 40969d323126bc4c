"""A queue's own token: shown once, kept as a hash, good for one queue, gone when it is revoked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.identity import queue_tokens
from heliograph.identity.queue_tokens import QueueTokens
from heliograph.ids import new_id
from tests.parts.api import SUM, Api, open_api, problem
from tests.parts.queues import MANAGER, ok, open_queue
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def issue(api: Api, queue: str, **fields: Any) -> dict[str, Any]:
    manager = api.client(MANAGER, "queue manager")
    answer = await manager.post("/v1/tokens", json={"queue": queue, "description": "dome 1"} | fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def test_it_is_shown_once_and_kept_as_a_hash(api: Api) -> None:
    queue = await open_queue(api)
    issued = await issue(api, queue.name)
    token = issued.pop("token")
    assert token.startswith("hgq_")
    assert len(token) >= len("hgq_") + 43  # 32 bytes
    assert (await issue(api, queue.name))["token"] != token
    assert ok(await queue.manager.get(f"/v1/tokens/{issued['id']}")) == issued
    listed = ok(await queue.manager.get("/v1/tokens", params={"queue": queue.name}))["items"]
    assert issued in listed
    assert {each["queue"] for each in listed} == {queue.name}
    assert issued in ok(await queue.manager.get("/v1/tokens"))["items"]
    stored = await api.database.collection("queue_tokens").find_one({"_id": issued["id"]})
    assert stored
    assert stored["hash"] == sha256(token.encode()).hexdigest()
    assert token not in str(stored)
    assert token not in str(listed)


async def test_it_stands_for_its_queue_s_agents(api: Api) -> None:
    queue = await open_queue(api)
    issued = await issue(api, queue.name)
    me = ok(await api.bearer(issued["token"]).get("/v1/me"))
    assert me["subject"] == f"queue-token:{issued['id']}"
    assert me["roles"] == ["agent"]
    assert me["name"] == "dome 1"


async def test_it_sees_and_changes_its_queue_s_jobs_and_no_others(api: Api) -> None:
    queue, other = await open_queue(api), await open_queue(api)
    mine, theirs, backend = await queue.submit(), await other.submit(), await api.submit()
    listed = ok(await queue.agents.get("/v1/jobs"))["items"]
    assert [job["id"] for job in listed] == [mine["id"]]
    assert (await queue.job(mine["id"]))["owner"] == mine["owner"] != ""
    for job in (theirs, backend):
        for method, rest in (("GET", ""), ("POST", "/cancel"), ("GET", "/log")):
            problem(await queue.agents.request(method, f"/v1/jobs/{job['id']}{rest}"), 404)
        for what in ("report", "heartbeat", "release"):
            problem(await queue.tell(job["id"], "token", what), 404)
    problem(await queue.agents.get("/v1/jobs", params={"queue": other.name}), 403)
    problem(await queue.agents.post(f"{other.path}/claim", json={"agent": "a"}), 404)
    problem(await queue.agents.get(other.path), 404)
    assert [each["name"] for each in ok(await queue.agents.get("/v1/queues"))["items"]] == [queue.name]
    assert ok(await queue.agents.post(f"/v1/jobs/{mine['id']}/cancel"))["state"] == "cancelled"
    assert (await other.job(theirs["id"]))["state"] == "queued"


async def test_it_submits_into_its_queue_alone(api: Api) -> None:
    queue, other = await open_queue(api), await open_queue(api)
    before = await api.stored()
    problem(await queue.agents.post("/v1/jobs", json={"queue": other.name}), 403)
    problem(await queue.agents.post("/v1/jobs", json={"queue": "not declared"}), 403)
    problem(await queue.agents.post("/v1/jobs", json=SUM), 403)
    assert await api.stored() == before
    job = await queue.submit(queue.agents)
    assert job["owner"] == ok(await queue.agents.get("/v1/me"))["subject"]


async def test_it_manages_nothing(api: Api) -> None:
    queue = await open_queue(api)
    for method, path, body in (
        ("PUT", queue.path, {}), ("DELETE", queue.path, None), ("POST", f"{queue.path}/pause", None),
        ("POST", f"{queue.path}/resume", None), ("POST", "/v1/tokens", {"queue": queue.name, "description": "mine"}),
        ("GET", "/v1/tokens", None), ("GET", f"/v1/tokens/{new_id()}", None),
        ("DELETE", f"/v1/tokens/{new_id()}", None), ("GET", "/v1/notices", None), ("DELETE", "/v1/backends/sum", None),
    ):  # fmt: skip
        problem(await queue.agents.request(method, path, json=body), 403)
        problem(await api.ada.request(method, path, json=body), 403)
        problem(await api.bearer(None).request(method, path, json=body), 401)


async def test_a_revoked_one_is_refused_at_once_here_and_soon_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await open_queue(api)
    issued = await issue(api, queue.name)
    agent = api.bearer(issued["token"])
    elsewhere = QueueTokens(api.database)  # of another process
    await elsewhere.verify(issued["token"])
    ok(await agent.get("/v1/me"))
    for _ in range(2):
        answer = await queue.manager.delete(f"/v1/tokens/{issued['id']}")
        assert answer.status_code == httpx.codes.NO_CONTENT
    assert "revoked" in problem(await agent.get("/v1/me"), 401)["detail"]
    assert ok(await queue.manager.get(f"/v1/tokens/{issued['id']}"))["revoked_at"]
    ok(await queue.agents.get("/v1/me"))  # another one of the same queue
    assert (await elsewhere.verify(issued["token"])).queue == queue.name
    monkeypatch.setattr(queue_tokens, "_KNOWN_SECONDS", 0.0)
    with pytest.raises(Exception, match="revoked"):
        await elsewhere.verify(issued["token"])


async def test_an_expired_one_is_refused(api: Api) -> None:
    queue = await open_queue(api)
    issued = await issue(api, queue.name, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    agent = api.bearer(issued["token"])
    ok(await agent.get("/v1/me"))
    tokens = api.app.state.parts.queue_tokens
    past = {"$set": {"expires_at": datetime.now(UTC)}}
    await api.database.collection("queue_tokens").update_one({"_id": issued["id"]}, past)
    tokens._known.clear()
    assert "expired" in problem(await agent.get("/v1/me"), 401)["detail"]


@pytest.mark.parametrize("token", ["hgq_", "hgq_nobody-issued-this", "hgq_" + "A" * 43, "hgq_é", "HGQ_x"])
async def test_one_that_nobody_issued_is_refused(api: Api, token: str) -> None:
    answer = await api.bearer(None).get("/v1/me", headers=[(b"Authorization", f"Bearer {token}".encode())])
    assert "not valid" in problem(answer, 401)["detail"]
    assert token not in answer.text


async def test_when_it_was_used_is_noted_once_in_a_while(api: Api) -> None:
    queue = await open_queue(api)
    issued = await issue(api, queue.name)
    assert issued["last_used_at"] is None
    agent = api.bearer(issued["token"])
    ok(await agent.get("/v1/me"))

    async def last_use() -> str | None:
        return str(ok(await queue.manager.get(f"/v1/tokens/{issued['id']}"))["last_used_at"] or "")

    await until(last_use)
    first = await last_use()
    ok(await agent.get("/v1/me"))
    assert not api.app.state.parts.queue_tokens._notes
    assert await last_use() == first


async def test_those_of_a_removed_queue_are_revoked(api: Api) -> None:
    queue = await open_queue(api)
    ok(await queue.agents.get("/v1/me"))
    assert (await queue.manager.delete(queue.path)).status_code == httpx.codes.NO_CONTENT
    problem(await queue.agents.get("/v1/me"), 401)
    await open_queue(api, queue.name)
    problem(await queue.agents.get("/v1/me"), 401)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"queue": "not declared"}, "queue"), ({"queue": None}, "queue"), ({"queue": "sum"}, "queue"),
        ({"description": ""}, "description"), ({"description": "two\nlines"}, "description"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"expires_at": "soon"}, "expires_at"),
        ({"token": "hgq_mine"}, "token"), ({"roles": ["admin"]}, "roles"),
    ],
)  # fmt: skip
async def test_a_bad_request_issues_nothing(api: Api, changes: dict[str, Any], field: str) -> None:
    queue = await open_queue(api)
    tokens = api.database.collection("queue_tokens")
    before = await tokens.count_documents({})
    body = {"queue": queue.name, "description": "dome 1"} | changes
    problem(await queue.manager.post("/v1/tokens", json=body), 422, field)
    problem(await queue.manager.post("/v1/tokens", json=[body]), 422)
    problem(await queue.manager.get("/v1/tokens", params={"que": queue.name}), 422, "que")
    assert await tokens.count_documents({}) == before


async def test_one_that_is_unknown_is_not_found(api: Api) -> None:
    manager = api.client(MANAGER, "queue manager")
    problem(await manager.get(f"/v1/tokens/{new_id()}"), 404)
    problem(await manager.delete(f"/v1/tokens/{new_id()}"), 404)
