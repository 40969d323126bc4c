"""What the api tells of itself: backends, notices, the caller, its health, its metrics, its OpenAPI document."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import pytest_asyncio
import structlog
from pydantic import BaseModel

from heliograph.announcements import Announcements
from heliograph.backends import Backend
from heliograph.ids import new_id
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject, SubjectKind
from heliograph.notices.store import Ledger
from heliograph.wire import BackendView, NoticePage
from tests.parts.api import ADA, KEY, SUM, Api, open_api, problem
from tests.parts.queues import open_queue

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=("a key that signs links of this test alone",)) as opened:
        yield opened


class Nothing(BaseModel):
    pass


class Something(BaseModel):
    new: int


def versioned(version: str, parameters: type[BaseModel] = Nothing) -> Backend:
    return Backend(
        name="versioned",
        version=version,
        title=f"Version {version}",
        description="",
        parameters=parameters,
        function=print,
    )


async def test_backends_are_what_workers_announced(api: Api, tmp_path: Path) -> None:
    before = BackendView.model_validate((await api.ada.get("/v1/backends/sum")).json())
    assert (before.version, before.title, before.roles, before.timeout_seconds) == ("1.2.0", "A sum", ["user"], 300)
    assert before.parameters_schema["properties"]["left"]["type"] == "integer"
    assert (before.workers, before.last_seen) == (0, None)
    async with api.worker(tmp_path, "good:add"):
        seen = BackendView.model_validate(next(
            each for each in (await api.ada.get("/v1/backends")).json()["items"] if each["name"] == "sum"
        ))  # fmt: skip
        assert seen.workers == 1
        assert seen.last_seen
    # Its workers are gone, and it stays: jobs wait for the next one.
    assert (await api.submit())["state"] == "queued"


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [("1.9.0", "1.10.0", "1.10.0"), ("1.10.0", "1.9.0", "1.10.0"), ("2.0", "2.0.0rc1", "2.0"),
     ("2.0rc9", "2.0rc10", "2.0rc10"), ("2.0", "2.0.1", "2.0.1"),
     ("20260101", "999999", "20260101"), ("10000000", "999999", "10000000")],
)  # fmt: skip
async def test_the_highest_version_stands(api: Api, first: str, second: str, stands: str) -> None:
    await api.database.collection("backends").delete_one({"_id": "versioned"})
    for version in (first, second):
        await Announcements(api.database).announce([versioned(version)])
    listed = {each["name"]: each for each in (await api.ada.get("/v1/backends")).json()["items"]}
    assert (listed["versioned"]["version"], listed["versioned"]["title"]) == (stands, f"Version {stands}")


async def test_a_new_version_is_what_submissions_are_judged_by(api: Api) -> None:
    await api.database.collection("backends").delete_one({"_id": "versioned"})
    announcements = Announcements(api.database)
    await announcements.announce([versioned("1.0.0")])
    body = {"backend": "versioned"}
    assert (await api.ada.post("/v1/jobs", json=body)).status_code == httpx.codes.CREATED
    await announcements.announce([versioned("1.1.0", Something)])
    await api.ada.get("/v1/backends")  # which looks again, as the api does by itself every 2 s
    problem(await api.ada.post("/v1/jobs", json=body), 422, "parameters.new")


async def test_only_an_administrator_removes_a_backend(api: Api) -> None:
    await Announcements(api.database).announce([versioned("1.0.0")])
    for role in ("user", "operator", "job manager", "queue manager", "agent"):
        problem(await api.client("x@example.org", role).delete("/v1/backends/versioned"), 403)
    admin = api.client("root@example.org", "admin")
    assert (await admin.delete("/v1/backends/versioned")).status_code == httpx.codes.NO_CONTENT
    problem(await admin.delete("/v1/backends/versioned"), 404)
    problem(await api.ada.get("/v1/backends/versioned"), 404)
    problem(await api.ada.post("/v1/jobs", json={"backend": "versioned"}), 422, "backend")


async def test_me_tells_what_the_roles_allow(api: Api) -> None:
    assert (await api.client(ADA, "job manager", name="Ada").get("/v1/me")).json() == {
        "subject": ADA,
        "name": "Ada",
        "roles": ["job manager", "user"],
        "may": [
            "submit jobs", "see one's own jobs", "see everybody's jobs", "cancel and retry one's own jobs",
            "have others told",
        ],
    }  # fmt: skip


async def delivered(api: Api, subject: Subject, **fields: Any) -> Delivery:
    """Store a notice as the notifier plans it."""
    now = datetime.now(UTC).replace(microsecond=0)
    delivery = Delivery(
        id=new_id(), subject=subject, **{"occasion": Occasion.DONE} | fields, series=1, seq=2, channel="email",
        recipient=ADA, status=DeliveryStatus.SUPPRESSED, reason="threshold: it took 1 s, less than 60 s",
        created_at=now, due_at=now,
    )  # fmt: skip
    assert await Ledger(api.database).insert([delivery])
    return delivery


async def test_a_jobs_notices_say_why(api: Api) -> None:
    job = await api.submit()
    delivery = await delivered(api, Subject.of_job(job["id"]))
    (notice,) = NoticePage.model_validate((await api.ada.get(f"/v1/jobs/{job['id']}/notices")).json()).items
    assert (notice.id, notice.job_id, notice.occasion, notice.status) == (
        delivery.id, job["id"], "done", "suppressed",
    )  # fmt: skip
    assert notice.reason == delivery.reason
    assert (await api.ada.get(f"/v1/jobs/{(await api.submit())['id']}/notices")).json()["items"] == []


async def test_all_notices_are_listed_page_by_page(api: Api) -> None:
    job = await api.submit()
    ids = [(await delivered(api, Subject.of_job(job["id"]))).id]
    job = await api.submit()
    ids.append((await delivered(api, Subject.of_job(job["id"]))).id)
    mia = api.client("mia@example.org", "job manager")
    first = (await mia.get("/v1/notices", params={"status": "suppressed", "limit": 1})).json()
    second = (await mia.get("/v1/notices", params={"limit": 1, "cursor": first["next"]})).json()
    assert [each["id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert (await mia.get("/v1/notices", params={"status": "sent"})).json()["items"] == []


async def test_health_and_metrics_take_no_token(api: Api) -> None:
    stranger = api.bearer(None)
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    assert (await stranger.get("/readyz")).json() == {"status": "ok", "mongodb": True, "bus": True}
    assert (await stranger.get("/metrics")).headers["content-type"].startswith("text/plain")


async def test_metrics_name_routes_and_neither_ids_nor_queries(api: Api) -> None:
    job = await api.submit(name="only-here")
    await api.ada.get(f"/v1/jobs/{job['id']}?wait=0&token=only-in-the-query")
    await api.ada.get("/no/such/only-here")
    text = (await api.bearer(None).get("/metrics")).text
    counted = re.findall(r"heliograph_http_request_seconds_count\{(.+?)\} ", text)  # fmt: skip
    assert 'method="GET",route="/v1/jobs/{job_id}",status="200"' in counted
    assert 'method="POST",route="/v1/jobs",status="201"' in counted
    assert 'method="GET",route="other",status="404"' in counted
    for word in (job["id"], "only-here", "only-in-the-query", KEY, ADA):
        assert word not in text


async def test_a_defect_is_told_without_its_details_and_counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(api.app.state.parts.jobs, "get", broken)
    with structlog.testing.capture_logs() as logged:
        async with httpx.AsyncClient(base_url=api.url, headers=api.ada.headers) as http:
            found = problem(await http.get(f"/v1/jobs/{new_id()}?token=in-the-query"), 500)
    assert "swordfish" not in str(found)
    monkeypatch.undo()
    assert 'route="/v1/jobs/{job_id}",status="500"' in (await api.ada.get("/metrics")).text
    (defect,) = [entry for entry in logged if entry["event"] == "defect"]
    assert "swordfish" in str(defect["exc_info"])
    assert "in-the-query" not in str(logged)


async def test_the_openapi_document_holds_together(api: Api) -> None:
    document = (await api.bearer(None).get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    first = next(iter(document["paths"].items()))
    assert (first[0], next(iter(first[1]))) == ("/v1/jobs", "post")  # what most readers look for
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.validator_for(schema | {"components": document["components"]})
        assert name != "HTTPValidationError"  # errors here are problems
    for reference in _references(document):
        assert _find(document, reference), reference
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len({operation["operationId"] for *_, operation in operations}) == len(operations)
    for path, method, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"], where
        in_path = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert in_path == {name.partition(":")[0] for name in re.findall(r"{(.+?)}", path)}, where
        for status, answer in operation["responses"].items():
            assert answer["description"], where
            if int(status) >= 400 and path.startswith("/v1"):
                assert list(answer["content"]) == ["application/problem+json"], f"{where} {status}"
        if path.startswith("/v1") and not path.startswith("/v1/callbacks"):  # whose address is what it takes
            assert operation["security"], where


async def test_every_answer_fits_what_the_document_declares(api: Api, tmp_path: Path) -> None:
    document = (await api.ada.get("/openapi.json")).json()
    admin = api.client("root@example.org", "admin")
    job = await api.submit(backend="files", parameters={}, name="n", not_before=None, timeout_seconds=60)
    failing = await api.submit(backend="complain", parameters={"kind": "usage"})
    async with api.worker(tmp_path, "good:files", "good:complain"):
        await api.over(job)
        await api.over(failing)
    notice = await delivered(api, Subject.of_job(job["id"]))
    given_up = (await api.submit())["id"]
    error = {"kind": "lost", "message": "its worker was lost", "traceback": None}
    ended = {"state": "failed", "error": error, "ended_at": datetime.now(UTC), "attempt": 3}
    await api.jobs.update_one({"_id": given_up}, {"$set": ended})
    upload = (await admin.post("/v1/uploads", content=b"x")).json()["id"]
    own = f"/v1/jobs/{job['id']}"
    queue = await open_queue(api, "mrc 1/enclosure", parameters_schema={"type": "object"})
    await queue.submit()
    held, lease = await queue.claim_one()
    await queue.submit()
    named = {"lease_token": lease}
    mute = (await admin.post("/v1/mutes", json={})).json()["id"]
    watch = (await admin.post("/v1/watches", json={"group": "g"})).json()["id"]
    incident = (await admin.post("/v1/incidents", json={"text": "x"})).json()["id"]
    await delivered(api, Subject(SubjectKind.INCIDENT, incident), occasion=Occasion.INCIDENT)
    tried = (await admin.post("/v1/notices/test", json={})).json()["id"]
    await delivered(api, Subject(SubjectKind.TEST, tried), occasion=Occasion.TEST)
    users = LinkedUsers(api.database)
    assert await users.redeem("@root:hs", await users.challenge("root@example.org", "@root:hs"))
    token = f"/v1/tokens/{(await admin.get('/v1/tokens')).json()['items'][0]['id']}"
    answered: set[tuple[str, str]] = set()
    for method, path, template, body in (
        ("POST", "/v1/jobs", "/v1/jobs", SUM), ("GET", "/v1/jobs", "/v1/jobs", None),
        ("POST", "/v1/jobs/batch", "/v1/jobs/batch", {"jobs": [SUM | {"group": "g", "parent": job["id"]}, 7]}),
        ("POST", "/v1/jobs/batch", "/v1/jobs/batch", {"jobs": []}),  # refused
        ("GET", "/v1/groups/g", "/v1/groups/{group}", None), ("GET", "/v1/groups/none", "/v1/groups/{group}", None),
        ("GET", f"{own}/tree", "/v1/jobs/{job_id}/tree", None),
        ("GET", own, "/v1/jobs/{job_id}", None), ("GET", f"/v1/jobs/{failing['id']}", "/v1/jobs/{job_id}", None),
        ("GET", f"{own}/history", "/v1/jobs/{job_id}/history", None),
        ("GET", f"{own}/log", "/v1/jobs/{job_id}/log", None),
        ("GET", f"{own}/artifacts", "/v1/jobs/{job_id}/artifacts", None),
        ("GET", f"{own}/artifacts/table.csv", "/v1/jobs/{job_id}/artifacts/{name}", None),
        ("GET", f"{own}/notices", "/v1/jobs/{job_id}/notices", None),
        ("POST", f"{own}/retry", "/v1/jobs/{job_id}/retry", None),
        ("POST", f"{own}/retry", "/v1/jobs/{job_id}/retry", None),  # refused
        ("POST", f"{own}/cancel", "/v1/jobs/{job_id}/cancel", None),
        ("POST", "/v1/uploads", "/v1/uploads", None), ("GET", f"/v1/uploads/{upload}", "/v1/uploads/{upload_id}", None),
        ("GET", "/v1/backends", "/v1/backends", None), ("GET", "/v1/backends/sum", "/v1/backends/{name}", None),
        ("GET", "/v1/backends/none", "/v1/backends/{name}", None),
        ("PATCH", "/v1/backends/sum", "/v1/backends/{name}", {"limits": {"total": 4}}),
        ("PATCH", "/v1/backends/sum", "/v1/backends/{name}", {"limits": 4}),  # refused
        ("POST", "/v1/backends/sum/pause", "/v1/backends/{name}/pause", None),
        ("POST", "/v1/backends/sum/resume", "/v1/backends/{name}/resume", None),
        ("GET", "/v1/dead", "/v1/dead", None),
        ("POST", f"/v1/dead/{given_up}/replay", "/v1/dead/{dead_id}/replay", None),
        ("POST", f"/v1/dead/{given_up}/replay", "/v1/dead/{dead_id}/replay", None),  # refused
        ("DELETE", "/v1/backends/where", "/v1/backends/{name}", None),
        ("PUT", queue.path, "/v1/queues/{name}", {}), ("PUT", "/v1/queues/new", "/v1/queues/{name}", {}),
        ("PUT", "/v1/queues/sum", "/v1/queues/{name}", {}),  # refused
        ("GET", "/v1/queues", "/v1/queues", None), ("GET", queue.path, "/v1/queues/{name}", None),
        ("POST", f"{queue.path}/claim", "/v1/queues/{name}/claim", {"agent": "dome-1"}),
        ("POST", f"{queue.path}/pause", "/v1/queues/{name}/pause", None),
        ("POST", f"{queue.path}/resume", "/v1/queues/{name}/resume", None),
        ("POST", f"/v1/jobs/{held}/report", "/v1/jobs/{job_id}/report", named | {"progress": 0.5}),
        ("POST", f"/v1/jobs/{held}/heartbeat", "/v1/jobs/{job_id}/heartbeat", named),
        ("POST", f"/v1/jobs/{held}/release", "/v1/jobs/{job_id}/release", named),
        ("POST", f"/v1/jobs/{held}/report", "/v1/jobs/{job_id}/report", named),  # refused
        ("DELETE", "/v1/queues/new", "/v1/queues/{name}", None),
        ("DELETE", queue.path, "/v1/queues/{name}", None),  # refused
        ("POST", "/v1/tokens", "/v1/tokens", {"queue": queue.name, "description": "dome 1"}),
        ("GET", "/v1/tokens", "/v1/tokens", None), ("GET", token, "/v1/tokens/{token_id}", None),
        ("DELETE", token, "/v1/tokens/{token_id}", None),
        ("POST", "/v1/callbacks/forged", "/v1/callbacks/{token}", {"state": "done"}),  # refused
        ("GET", "/v1/callbacks/forged?state=done", "/v1/callbacks/{token}", None),  # refused
        ("GET", "/v1/notices", "/v1/notices", None), ("GET", "/v1/me", "/v1/me", None),
        ("POST", f"/v1/notices/{notice.id}/resend", "/v1/notices/{notice_id}/resend", None),
        ("POST", f"/v1/notices/{notice.id}/resend", "/v1/notices/{notice_id}/resend", None),  # refused
        ("POST", "/v1/notices/test", "/v1/notices/test", {"channel": "email"}),
        ("GET", f"/v1/notices/test/{tried}", "/v1/notices/test/{test_id}", None),
        ("GET", "/v1/me/notifications", "/v1/me/notifications", None),
        ("PATCH", "/v1/me/notifications", "/v1/me/notifications", {
            "email": {"done": True}, "matrix": {"room": "!dome:hs"}, "time_zone": "UTC", "urgent": ["failed"],
            "quiet_hours": {"from": "22:00", "to": "07:00"}, "working_days": ["monday"],
        }),
        ("PATCH", "/v1/me/notifications", "/v1/me/notifications", {"email": 7}),  # refused
        ("GET", "/v1/me/matrix", "/v1/me/matrix", None), ("DELETE", "/v1/me/matrix", "/v1/me/matrix", None),
        ("POST", "/v1/me/matrix", "/v1/me/matrix", {"user": "@root:hs"}),
        ("POST", "/v1/mutes", "/v1/mutes", {"job": job["id"], "channel": "email", "seconds": 60}),
        ("GET", "/v1/mutes", "/v1/mutes", None), ("DELETE", f"/v1/mutes/{mute}", "/v1/mutes/{mute_id}", None),
        ("POST", "/v1/watches", "/v1/watches", {"backend": "sum", "email": {"done": True}}),
        ("GET", "/v1/watches", "/v1/watches", None),
        ("DELETE", f"/v1/watches/{watch}", "/v1/watches/{watch_id}", None),
        ("POST", "/v1/incidents", "/v1/incidents", {"text": "x", "title": "y", "job": job["id"]}),
        ("GET", "/v1/incidents", "/v1/incidents", None),
        ("GET", f"/v1/incidents/{incident}", "/v1/incidents/{incident_id}", None),
        ("POST", "/v1/jobs", "/v1/jobs", {"backend": "none"}), ("GET", "/healthz", "/healthz", None),
        ("GET", "/readyz", "/readyz", None), ("GET", "/metrics", "/metrics", None),
    ):  # fmt: skip
        answer = await admin.request(method, path, json=body)
        answered.add((template, method.lower()))
        _fits(document, template, answer)
    assert answered == {(path, method) for path, methods in document["paths"].items() for method in methods}


def _fits(document: Mapping[str, Any], template: str, answer: httpx.Response) -> None:
    where = f"{answer.request.method} {template} {answer.status_code}"
    declared = document["paths"][template][answer.request.method.lower()]["responses"]
    assert str(answer.status_code) in declared, where
    contents = declared[str(answer.status_code)].get("content", {})
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if not media_type:
        assert not contents
        return
    assert media_type in contents or "*/*" in contents, f"{where}: {media_type} is not one of {list(contents)}"
    schema = contents.get(media_type, {}).get("schema")
    if schema and media_type.endswith("json"):
        jsonschema_rs.validator_for(_closed(schema | {"components": document["components"]})).validate(answer.json())


def _closed(schema: Any) -> Any:
    """Return a schema that allows no fields but those that it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    return closed | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else closed


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for each in value.values() for found in _references(each)]


def _find(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document.get(part, {})
    return document
