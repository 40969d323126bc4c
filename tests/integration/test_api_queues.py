"""Pull queues over HTTP: declared by a manager, filled by anybody who may, shown with what is in them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.jobs.states import State
from tests.parts.api import ADA, SUM, Api, open_api, problem
from tests.parts.queues import MANAGER, ok, open_queue

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {
    "type": "object", "properties": {"filter": {"enum": ["B", "V"]}, "$odd.name": {"type": "integer"}},
    "required": ["filter"], "additionalProperties": False,
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(api: Api) -> httpx.AsyncClient:
    return api.client(MANAGER, "queue manager")


async def test_a_queue_is_declared_with_the_defaults(api: Api, manager: httpx.AsyncClient) -> None:
    answer = await manager.put("/v1/queues/mrc1", json={"title": "Commands"})
    assert answer.status_code == httpx.codes.CREATED
    declared = answer.json()
    assert datetime.fromisoformat(declared.pop("declared_at")) > datetime.now(UTC) - timedelta(minutes=1)
    assert declared == {
        "name": "mrc1", "title": "Commands", "parameters_schema": None, "once": "no", "lease_seconds": 300.0,
        "delivery": "at_least_once", "max_attempts": 3, "limits": {"total": None, "per_owner": None}, "roles": [],
        "paused": False, "declared_by": MANAGER, "queued": 0, "claimed": 0, "running": 0,
        "oldest_queued_seconds": None,
    }  # fmt: skip


async def test_declaring_anew_states_all_rules_and_keeps_a_pause(api: Api, manager: httpx.AsyncClient) -> None:
    queue = await open_queue(
        api, title="t", parameters_schema=SCHEMA, once="ever", lease_seconds=60, max_attempts=5, roles=["observer"],
        limits={"total": 2, "per_owner": 1}, paused=True,
    )  # fmt: skip
    first = await queue.read()
    assert first["parameters_schema"] == SCHEMA
    assert (first["once"], first["lease_seconds"], first["max_attempts"]) == ("ever", 60, 5)
    assert (first["roles"], first["limits"]) == (["observer"], {"total": 2, "per_owner": 1})
    answer = await manager.put(queue.path, json={"lease_seconds": None, "delivery": "at_most_once"})
    assert answer.status_code == httpx.codes.OK
    second = answer.json()
    assert (second["parameters_schema"], second["once"], second["lease_seconds"]) == (None, "no", None)
    assert (second["delivery"], second["max_attempts"]) == ("at_most_once", 1)
    assert (second["roles"], second["limits"]) == ([], {"total": None, "per_owner": None})
    assert second["paused"] is True
    assert ok(await manager.put(queue.path, json={"paused": False}))["paused"] is False


@pytest.mark.parametrize("name", ["Mount Wilson", "mrc1/enclosure", "a/claim", "Großer Refraktor", "100% & more?#"])
async def test_a_name_is_free_text(api: Api, name: str) -> None:
    queue = await open_queue(api, name)
    assert (await queue.read())["name"] == name
    job = await queue.submit()
    assert job["queue"] == name
    assert await queue.claim_one()
    ok(await queue.manager.post(f"{queue.path}/pause"))
    ok(await queue.manager.post(f"{queue.path}/resume"))
    assert name in [each["name"] for each in ok(await queue.manager.get("/v1/queues"))["items"]]


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("sum", {}, "name"), (" a", {}, "name"), ("a%09b", {}, "name"), ("a%00", {}, "name"), ("n" * 201, {}, "name"),
        ("%2E%2E", {}, "name"), ("q", {"title": 7}, "title"), ("q", {"title": "t" * 201}, "title"),
        ("q", {"titel": ""}, "titel"), ("q", {"parameters_schema": {"type": "nope"}}, "parameters_schema"),
        ("q", {"parameters_schema": {"$ref": "https://example.org/schema"}}, "parameters_schema"),
        ("q", {"parameters_schema": {"pattern": "("}}, "parameters_schema"),
        ("q", {"parameters_schema": {"$schema": "urn:nobody-knows"}}, "parameters_schema"),
        ("q", {"parameters_schema": "anything"}, "parameters_schema"), ("q", {"once": "twice"}, "once"),
        ("q", {"once": True}, "once"), ("q", {"lease_seconds": 0}, "lease_seconds"),
        ("q", {"lease_seconds": "300"}, "lease_seconds"), ("q", {"lease_seconds": True}, "lease_seconds"),
        ("q", {"lease_seconds": 1e9}, "lease_seconds"), ("q", {"delivery": "exactly_once"}, "delivery"),
        ("q", {"max_attempts": 0}, "max_attempts"), ("q", {"max_attempts": 1.5}, "max_attempts"),
        ("q", {"delivery": "at_most_once", "max_attempts": 2}, "max_attempts"),
        ("q", {"limits": {"total": 0}}, "limits.total"), ("q", {"limits": {"most": 1}}, "limits.most"),
        ("q", {"limits": []}, "limits"), ("q", {"roles": "observer"}, "roles"), ("q", {"roles": [""]}, "roles.0"),
        ("q", {"paused": "yes"}, "paused"), ("q", {"name": "q"}, "name"), ("q", {"$set": {}}, "$set"),
    ],
)  # fmt: skip
async def test_a_bad_declaration_changes_nothing(
    api: Api, manager: httpx.AsyncClient, name: str, body: dict[str, Any], field: str
) -> None:
    queues = api.database.collection("queues")
    before = await queues.find().to_list(None)
    problem(await manager.put(f"/v1/queues/{name}", json=body), 422, field)
    assert await queues.find().to_list(None) == before


async def test_many_unknown_rules_are_refused_quickly(api: Api, manager: httpx.AsyncClient) -> None:
    many = dict.fromkeys((f"n{number}" for number in range(90_000)), 1)
    for body in (many, {"limits": many}):
        assert len(problem(await manager.put("/v1/queues/q", json=body), 422)["errors"]) == 20


async def test_what_does_not_fit_the_schema_is_refused(api: Api) -> None:
    queue = await open_queue(api, parameters_schema=SCHEMA)
    before = await api.stored()
    for parameters, field in (
        ({}, "parameters.filter"), ({"filter": "X"}, "parameters.filter"),
        ({"filter": "B", "$odd.name": "x"}, "parameters.$odd.name"), ({"filter": "B", "more": 1}, "parameters.more"),
    ):  # fmt: skip
        body = {"queue": queue.name, "parameters": parameters}
        problem(await api.ada.post("/v1/jobs", json=body), 422, field)
    assert await api.stored() == before
    await queue.submit(parameters={"filter": "B", "$odd.name": 3})
    ok(await queue.manager.put(queue.path, json={"parameters_schema": {"required": ["band"]}}))
    problem(await api.ada.post("/v1/jobs", json={"queue": queue.name, "parameters": {"filter": "B"}}), 422)
    await queue.submit(parameters={"band": "any"})


async def test_a_word_of_another_draft_is_no_fault_of_the_service(api: Api) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": 7, "dependentSchemas": 7,
        "properties": {"a": {"prefixItems": 7, "items": [{"type": "integer"}]}},
    }  # fmt: skip
    queue = await open_queue(api, parameters_schema=schema)
    await queue.submit(parameters={"a": [1]})


async def test_a_submission_to_a_queue_nobody_declared_is_refused(api: Api) -> None:
    before = await api.stored()
    for name in ("nobody declared this", "sum"):
        problem(await api.ada.post("/v1/jobs", json={"queue": name}), 422, "queue")
    queue = await open_queue(api)
    problem(await api.ada.post("/v1/jobs", json=SUM | {"queue": queue.name}), 422, "queue")
    assert await api.stored() == before


async def test_a_queue_takes_the_roles_that_it_asks_for(api: Api) -> None:
    queue = await open_queue(api, roles=["observer", "astronomer"])
    before = await api.stored()
    body = {"queue": queue.name}
    assert "astronomer" in problem(await api.client(ADA, "observer").post("/v1/jobs", json=body), 403)["detail"]
    assert await api.stored() == before
    await queue.submit(api.client(ADA, "observer", "astronomer"))


async def test_a_job_may_be_begun_as_often_as_it_and_its_queue_say(api: Api) -> None:
    queue = await open_queue(api, max_attempts=5)
    assert (await queue.submit())["max_attempts"] == 5
    assert (await queue.submit(max_attempts=2))["max_attempts"] == 2
    assert (await queue.submit(max_attempts=50))["max_attempts"] == 5
    once = await open_queue(api, delivery="at_most_once")
    assert (await once.submit(max_attempts=3))["max_attempts"] == 1


async def test_an_input_is_kept_once_for_ever(api: Api) -> None:
    queue = await open_queue(api, once="ever")
    first = await queue.submit(parameters={"a": 1, "b": [2]})
    again = await api.ada.post("/v1/jobs", json={"queue": queue.name, "parameters": {"b": [2], "a": 1}})
    assert again.status_code == httpx.codes.OK
    assert again.json()["id"] == first["id"]
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="done", result=7))
    over = await api.ada.post("/v1/jobs", json={"queue": queue.name, "parameters": {"a": 1, "b": [2]}})
    assert (over.status_code, over.json()["result"]) == (200, 7)
    assert (await queue.submit(parameters={"a": 2, "b": [2]}))["id"] != first["id"]
    other = await open_queue(api, once="ever")
    assert (await other.submit(parameters={"a": 1, "b": [2]}))["id"] != first["id"]


async def test_an_input_is_kept_once_while_it_is_not_over(api: Api) -> None:
    queue = await open_queue(api, once="active")
    first = await queue.submit(parameters={"a": 1})
    body = {"queue": queue.name, "parameters": {"a": 1}}
    assert ok(await api.ada.post("/v1/jobs", json=body))["id"] == first["id"]
    job, token = await queue.claim_one()
    assert ok(await api.ada.post("/v1/jobs", json=body))["id"] == first["id"]
    ok(await queue.tell(job, token, state="failed"))
    second = await queue.submit(parameters={"a": 1})
    assert second["id"] != first["id"]
    problem(await api.ada.post(f"/v1/jobs/{first['id']}/retry"), 409)


async def test_two_submissions_of_one_input_at_once_are_one_job(api: Api) -> None:
    queue = await open_queue(api, once="active")
    body = {"queue": queue.name, "parameters": {"night": "2026-11-22"}}
    answers = await asyncio.gather(*(api.ada.post("/v1/jobs", json=body) for _ in range(8)))
    assert len({ok(answer)["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert await api.stored(queue=queue.name) == 1


async def test_an_input_that_is_somebody_elses_job_is_refused(api: Api) -> None:
    queue = await open_queue(api, once="ever")
    job = await queue.submit(parameters={"a": 1})
    body = {"queue": queue.name, "parameters": {"a": 1}}
    refused = problem(await api.bob.post("/v1/jobs", json=body), 409)
    assert job["id"] not in str(refused)
    assert ADA not in str(refused)
    assert (
        ok(await queue.agents.post("/v1/jobs", json={"queue": queue.name, "parameters": {"a": 1}}))["id"] == job["id"]
    )


async def test_a_queue_tells_what_is_in_it(api: Api) -> None:
    queue = await open_queue(api)
    for _ in range(4):
        await queue.submit()
    await queue.submit(not_before=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await queue.claim_one()
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="running"))
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="done"))
    await api.jobs.update_many(
        {"queue": queue.name, "state": State.QUEUED.value}, {"$set": {"created_at": datetime.now(UTC)}}
    )
    await api.jobs.update_one(
        {"queue": queue.name, "state": State.QUEUED.value},
        {"$set": {"created_at": datetime.now(UTC) - timedelta(minutes=5)}},
    )
    for found in (
        await queue.read(),
        *[each for each in ok(await api.ada.get("/v1/queues"))["items"] if each["name"] == queue.name],
    ):
        assert (found["queued"], found["claimed"], found["running"]) == (2, 1, 1)
        assert 300 <= found["oldest_queued_seconds"] < 330
    assert ok(await api.ada.get(queue.path))["declared_by"] is None


async def test_counting_looks_at_no_job(api: Api) -> None:
    queue = await open_queue(api)
    await queue.fill(50)
    raw = api.database.raw
    await raw.command("profile", 2)
    await queue.read()
    await raw.command("profile", 0)
    counts = await raw["system.profile"].find({"ns": f"{raw.name}.jobs", "command.aggregate": "jobs"}).to_list(9)
    [seen] = [one for one in counts if queue.name in str(one["command"])]  # the census counts all of them
    assert (seen["docsExamined"], seen["keysExamined"]) == (0, seen["keysExamined"])
    assert seen["keysExamined"] <= 60


async def test_only_an_empty_queue_is_removed(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    problem(await queue.manager.delete(queue.path), 409)
    job, token = await queue.claim_one()
    problem(await queue.manager.delete(queue.path), 409)
    ok(await queue.tell(job, token, state="running"))
    problem(await queue.manager.delete(queue.path), 409)
    ok(await queue.tell(job, token, state="done"))
    assert (await queue.manager.delete(queue.path)).status_code == httpx.codes.NO_CONTENT
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/claim")):
        body = {"agent": "a"} if path == "/claim" else None
        problem(await queue.manager.request(method, queue.path + path, json=body), 404)
    problem(await api.ada.post("/v1/jobs", json={"queue": queue.name}), 422, "queue")
    assert ok(await api.ada.get(f"/v1/jobs/{job}"))["state"] == "done"


async def test_nothing_is_claimed_while_it_is_paused(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    held, token = await queue.claim_one()
    await queue.submit()
    operator = api.client("olga@example.org", "operator")
    assert ok(await operator.post(f"{queue.path}/pause"))["paused"] is True
    assert await queue.claim() == []
    assert await queue.claim(wait=0.1) == []
    ok(await queue.tell(held, token, state="done"))
    assert ok(await operator.post(f"{queue.path}/resume"))["paused"] is False
    assert len(await queue.claim()) == 1
    problem(await operator.put(queue.path, json={}), 403)


async def test_a_backend_that_takes_the_name_of_a_queue_hides_it(api: Api) -> None:
    """Its jobs wait under the same name, and no agent may get them."""
    queue = await open_queue(api)
    await queue.submit()
    backends = api.database.collection("backends")
    announced = await backends.find_one({"_id": "sum"})
    await backends.insert_one({**(announced or {}), "_id": queue.name})
    ok(await api.ada.get("/v1/backends"))  # which looks again
    problem(await queue.ask(), 409)
    problem(await api.ada.post("/v1/jobs", json={"queue": queue.name}), 422, "queue")
    await backends.delete_one({"_id": queue.name})
    ok(await api.ada.get("/v1/backends"))
    await queue.claim_one()
