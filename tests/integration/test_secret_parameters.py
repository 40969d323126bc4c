"""Secret parameters on their whole way: from a request to the backend, and nowhere else."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import bson
import httpx
import pytest
import pytest_asyncio
from pymongo import MongoClient

from heliograph.announcements import Announcements
from heliograph.events.model import JobEvent
from heliograph.identity.identity import Identity
from heliograph.jobs.store import ClaimStore
from heliograph.json_text import canonical_json
from heliograph.masking import MASK
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings
from heliograph_worker.catalogue import Catalogue
from tests.backends_for_tests.secretive import SOURCES
from tests.parts.api import ADA, Api, open_api, problem
from tests.parts.smtp import MailServer

SEAL_KEY, OTHER_KEY = "3f1d9c0b7a5e48261122334455667788", "0a9b8c7d6e5f40312233445566778899"
BACKENDS = [source.removeprefix("tests.backends_for_tests.") for source in SOURCES]
TOLD_OF_ALL: dict[str, Any] = {"mssub": True, "intsub": 0, "msdone": True, "mstout": True, "tem": 0, "msfail": True}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def canary() -> str:
    """A password that nobody else has, in the writing of which JSON, Python and URLs differ."""
    return f'ca-{secrets.token_hex(8)}-"ö"\\&\'{secrets.token_hex(4)}'


def forms(password: str) -> list[str]:
    """What no text may hold: the random parts of it, which all writings have."""
    return [password[3:19], password[-8:]]


def parameters(password: str, **further: Any) -> dict[str, Any]:
    return {"main": {"user": "ada", "password": password}, **further}


async def vault(api: Api, password: str, who: httpx.AsyncClient | None = None, **further: Any) -> dict[str, Any]:
    return await api.submit(who, backend="vault", parameters=parameters(password, **further))


def everything_stored(mongodb_url: str, name: str) -> bytes:
    """Every document of a database, and every write to it of which the server still knows."""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client[name]
        documents = [each for held in database.list_collection_names() for each in database[held].find()]
        writes = client["local"]["oplog.rs"].find({"ns": {"$regex": f"^{name}\\."}})
        batches = client["local"]["oplog.rs"].find({"o.applyOps.ns": {"$regex": f"^{name}\\."}})
        return b"".join(map(bson.encode, [*documents, *writes, *batches]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    """An api that can keep secrets, and no worker."""
    async with open_api(mongodb_url, seal_keys=(SEAL_KEY,)) as opened:
        await announce(opened)
        yield opened


async def announce(api: Api) -> None:
    await Announcements(api.database).announce(Catalogue.of(SOURCES).backends.values())
    await api.app.state.parts.registry.refresh()


async def test_a_secret_reaches_its_backend_and_is_found_nowhere_else(
    mongodb_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    password, events = canary(), list[JobEvent]()

    async def hear(event: JobEvent) -> None:
        events.append(event)

    async with AsyncExitStack() as stack:
        mails = await stack.enter_async_context(MailServer())
        api = await stack.enter_async_context(open_api(mongodb_url, seal_keys=(SEAL_KEY,)))
        stack.push_async_callback((await api.bus.subscribe_feed(hear)).close)
        settings = NotifierSettings(
            mongodb_url="mongodb://unused", bus_url="memory://", public_url=api.url, smtp_url=mails.url,
            mail_from="heliograph@example.org", metrics_port=None, seal_keys=(SEAL_KEY,),
        )  # fmt: skip
        await stack.enter_async_context(Notifier(settings, database=api.database, bus=api.bus))
        await stack.enter_async_context(api.worker(tmp_path / "scratch", *BACKENDS))
        await announce(api)
        ada = api.client(ADA, **TOLD_OF_ALL)
        hows = ("well", "tell", "raise", "once", "hand on", "show to a child", "late")
        jobs = {how: await vault(api, password, ada, how=how) for how in hows}
        body = {"backend": "vault", "parameters": parameters(password, more=[1, {"password": f"{password}2"}])}
        batch = await ada.post("/v1/jobs/batch", json={"jobs": [body, body]}, headers={"Idempotency-Key": "a batch"})
        jobs |= {f"batch {number}": item["job"] for number, item in enumerate(batch.json()["items"])}
        over = {how: await api.over(job, ada) for how, job in jobs.items()}

        shown = {"user": "ada", "password": MASK}
        assert all(job["parameters"]["main"] == shown for job in (*jobs.values(), *over.values()))
        assert over["batch 0"]["parameters"]["more"] == [1, {"password": MASK}]
        size = len(password)
        for how in ("well", "late", "once", "hand on", "show to a child"):
            assert (how, over[how]["result"]) == (how, [size, []])
        assert over["batch 1"]["result"] == [size, [size + 1]]
        told = over["tell"]
        assert told["result"] == {"password": MASK, MASK: ["it is", MASK], "size": size}
        assert told["message"] == f"with {MASK}"
        assert [artifact["name"] for artifact in told["artifacts"]] == [f"{MASK}.txt"]
        assert await log(ada, told) == f"begun with {MASK}\nit ends with {MASK}, ca"
        assert over["raise"]["error"]["message"] == f"RuntimeError: '{MASK}' is of no use"
        assert MASK in over["raise"]["error"]["traceback"]
        refusals = (await log(ada, over["show to a child"])).splitlines()
        refused = "this holds a secret of the job that submits: only a secret parameter may hold one"
        assert refusals == [f"name: {refused} (and 1 more)", f"name: {refused}"]

        await mails.wait_for_mails(2 * len(jobs) - 1)  # of all that was submitted and ended well, or of `raise` badly
        pages = [
            (await ada.get(path)).raise_for_status().text
            for job in over.values()
            for path in (f"/v1/jobs/{job['id']}/history", f"/v1/jobs/{job['id']}/notices", f"/v1/jobs/{job['id']}/tree")
        ]
        pages.append((await ada.get("/v1/jobs")).text)
        stored = await asyncio.to_thread(everything_stored, mongodb_url, api.settings.mongodb_database)
    captured = capfd.readouterr()
    told_events = repr([*events, *api.told])
    written = [mail.as_string() for mail in mails.mails]
    written += [
        part.get_content() for mail in mails.mails for part in mail.walk() if part.get_content_maintype() == "text"
    ]
    assert len(events) > len(jobs) * 2
    for form in forms(password):
        assert form.encode() not in stored
        for text in (*pages, *written, told_events, captured.out, captured.err, json.dumps(over)):
            assert form not in text


async def log(who: httpx.AsyncClient, job: dict[str, Any]) -> str:
    return (await who.get(f"/v1/jobs/{job['id']}/log")).raise_for_status().text


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda password: {"main": {"password": [password]}}, "parameters.main.password"),
        (lambda password: {"main": {"password": {password: password}}}, "parameters.main.password"),
        (lambda password: {"main": password}, "parameters.main"),
        (lambda password: {"main": [{"password": password}]}, "parameters.main"),
        (
            lambda password: {"main": {"password": password}, "more": [{"password": password}, password]},
            "parameters.more.1",
        ),
        (lambda password: {"main": {"password": password}, "note": [password]}, "parameters.note"),
        (lambda password: {"more": [{"password": password}]}, "parameters.main"),
        (lambda password: {"main": {"password": password}, "pin": 7}, "parameters.pin"),
        (lambda _: {"main": {"password": MASK}}, "parameters.main.password"),
        (lambda password: {"main": {"password": password}, "note": MASK}, "parameters.note"),
        (
            lambda password: {"main": {"password": ""}, "more": [1, {"password": password, "user": MASK}]},
            "parameters.more.1.user",
        ),
        (lambda password: {"main": {"password": password * 1000}}, "parameters"),
    ],
)
async def test_what_is_refused_is_not_quoted(
    api: Api, wrong: Any, field: str, capfd: pytest.CaptureFixture[str]
) -> None:
    password, before = canary(), await api.stored()
    answer = await api.ada.post("/v1/jobs", json={"backend": "vault", "parameters": wrong(password)})
    found = problem(answer, 422, field)
    captured = capfd.readouterr()
    for form in forms(password):
        assert form not in json.dumps(found) + captured.out + captured.err
    assert await api.stored() == before


async def offer(api: Api, name: str, schema: dict[str, Any]) -> None:
    """Let the api know a backend of this schema, as a worker of another version may have announced it."""
    announced: dict[str, Any] = {
        "version": "1", "rank": "", "title": "", "description": "", "roles": [], "timeout_seconds": None,
        "schema": json.dumps(schema),
    }  # fmt: skip
    await api.database.collection("backends").replace_one({"_id": name}, announced, upsert=True)
    await api.app.state.parts.registry.refresh()


async def test_what_is_shown_of_a_secret_is_no_value_of_a_parameter_that_was_one(api: Api) -> None:
    schema = {"properties": {"key": {"type": "string", "writeOnly": True}}}
    await offer(api, "turncoat", schema)
    job = await api.submit(backend="turncoat", parameters={"key": canary()})
    await offer(api, "turncoat", {"properties": {"key": {"type": "string"}}})
    again = await api.ada.post("/v1/jobs", json={"backend": "turncoat", "parameters": job["parameters"]})
    found = problem(again, 422, "parameters.key")
    assert "this is the mask that is shown for a secret" in found["detail"]
    await api.submit(backend="turncoat", parameters={"key": f"not {MASK}", MASK: 1})


async def test_a_schema_that_hides_its_marks_takes_no_submission(api: Api) -> None:
    marks = {"$defs": {"pw": {"$anchor": "pw", "writeOnly": True}}, "properties": {"key": {"$ref": "#pw"}}}
    await offer(api, "hidden", marks)
    before = await api.stored()
    answer = await api.ada.post("/v1/jobs", json={"backend": "hidden", "parameters": {"key": "hunter22"}})
    problem(answer, 422, "backend")
    assert await api.stored() == before
    admin = api.client("root@example.org", "admin")
    found = problem(await admin.put("/v1/queues/hiding", json={"parameters_schema": marks}), 422, "parameters_schema")
    assert 'which are not looked for behind such a "$ref"' in found["detail"]


async def test_agents_are_given_no_secret(api: Api) -> None:
    admin = api.client("root@example.org", "admin")
    schema = {"properties": {"key": {"type": "string", "writeOnly": True}}}
    answer = await admin.put("/v1/queues/telescope", json={"parameters_schema": schema})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    body = {"queue": "telescope", "parameters": {"key": canary()}}
    found = problem(await api.ada.post("/v1/jobs", json=body), 422, "parameters.key")
    assert "the agents of a pull queue are given none" in found["detail"]


async def test_a_repeat_with_the_same_secret_is_known_and_one_with_another_refused(api: Api) -> None:
    password, headers = canary(), {"Idempotency-Key": secrets.token_hex(8)}
    body = {"backend": "vault", "parameters": parameters(password)}
    first = await api.ada.post("/v1/jobs", json=body, headers=headers)
    again = await api.ada.post("/v1/jobs", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = {"backend": "vault", "parameters": parameters(canary())}
    problem(await api.ada.post("/v1/jobs", json=other, headers=headers), 422, "Idempotency-Key")
    kept = await api.jobs.find_one({"_id": first.json()["id"]})
    assert kept is not None
    assert kept["idempotency"]["digest"] != hashlib.sha256(canonical_json(body).encode()).hexdigest()
    await api.jobs.delete_one({"_id": kept["_id"]})


async def test_other_keys_and_another_jobs_secrets_open_nothing_and_the_worker_goes_on(
    api: Api, tmp_path: Path
) -> None:
    password = canary()
    job, other = await vault(api, password), await vault(api, canary())
    blobs = {each["_id"]: each["secrets"] async for each in api.jobs.find({"secrets": {"$exists": True}})}
    await api.jobs.update_one({"_id": other["id"]}, {"$set": {"secrets": blobs[job["id"]]}})
    async with api.worker(tmp_path / "one", *BACKENDS, seal_keys=(OTHER_KEY,)):
        failed = await api.over(job)
        assert failed["state"] == "failed"
        assert failed["error"] == {
            "kind": "fatal", "traceback": None,
            "message": "its secret parameters cannot be opened with this worker's keys (HELIOGRAPH_SEAL_KEYS)",
        }  # fmt: skip
        assert (await api.over(other))["error"]["message"] == failed["error"]["message"]
        fresh = await api.submit(backend="vault", parameters={"main": {"password": ""}})
        assert (await api.over(fresh))["state"] == "failed"
    async with api.worker(tmp_path / "two", *BACKENDS, seal_keys=(OTHER_KEY, SEAL_KEY)):
        for identifier in (job["id"], other["id"], job["id"]):
            (await api.ada.post(f"/v1/jobs/{identifier}/retry")).raise_for_status()
            await api.over({"id": identifier})
        assert (await api.over(other))["state"] == "failed"
        found = await api.over(job)
        assert (found["state"], found["result"]) == ("done", [len(password), []])


async def test_whoever_reads_a_job_reads_nothing_sealed_but_the_worker_that_claims_it(api: Api) -> None:
    job = await vault(api, canary())
    parts = api.app.state.parts
    caller = Identity(ADA, frozenset({"user"}))
    views = [await parts.jobs.get(job["id"], caller, with_history=deep) for deep in (False, True)]
    claims = ClaimStore(api.database)
    claimed = await claims.claim(["vault"], "worker")
    assert claimed is not None
    assert claimed.id == job["id"]
    views.append(await parts.jobs.cancel(job["id"], caller))
    assert claimed.secrets is not None
    assert [view.secrets for view in views] == [None] * 3
    assert repr(claimed.secrets) not in repr(claimed)
    await api.jobs.delete_one({"_id": job["id"]})
