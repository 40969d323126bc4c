"""The whole chain as three processes on real parts: a request over HTTP, its result, its plot, and its mails."""

import asyncio
import csv
import hashlib
import io
import math
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.parts.notifier import ADA, until
from tests.parts.rabbitmq import RabbitNode
from tests.parts.services import Stage, open_stage

SUNSPOTS = {"backend": "periodogram", "name": "sunspot cycle", "parameters": {"title": "Sunspots"}}
PNG = b"\x89PNG\r\n\x1a\n"
PERIOD_YEARS = 7.0
JOBS, ROUNDS = 60, 5
# Supervisors allow 10 s (Docker) to 30 s (Kubernetes) by default; the worker's time to drain comes on top.
API_GRACE_SECONDS = NOTIFIER_GRACE_SECONDS = 10.0
WORKER_GRACE_SECONDS = 25.0


@pytest.fixture
async def stage(tmp_path: Path, mongodb_url: str, database_name: str, rabbitmq_url: str) -> AsyncIterator[Stage]:
    """The three services, at work."""
    async with open_stage(tmp_path, mongodb_url, database_name, rabbitmq_url) as opened:
        await opened.start()
        await opened.announced()
        yield opened


async def items(stage: Stage, path: str) -> list[dict[str, Any]]:
    answer = (await stage.http.get(path)).raise_for_status()
    return list(answer.json()["items"])


async def test_from_a_request_to_its_result_its_plot_and_its_mails(stage: Stage) -> None:
    submitted = await stage.http.post("/v1/jobs", json=SUNSPOTS)
    assert submitted.status_code == httpx.codes.CREATED
    job = submitted.json()["id"]
    assert submitted.headers["location"] == f"/v1/jobs/{job}"

    over = await stage.over(job)
    assert (over["state"], over["attempt"], over["owner"], over["progress"]) == ("done", 1, ADA, 1.0)
    assert over["result"]["peak_period_years"] == pytest.approx(11, abs=0.2)
    assert over["message"] == f"The strongest period is {over['result']['peak_period_years']:.2f} years."

    plot, table = sorted(over["artifacts"], key=lambda each: each["media_type"])
    assert [plot["name"], table["name"]] == ["periodogram.png", "spectrum.csv"]
    picture = (await stage.http.get(f"/v1/jobs/{job}/artifacts/periodogram.png")).raise_for_status()
    assert picture.content.startswith(PNG)
    assert picture.headers["content-type"] == "image/png"
    assert (len(picture.content), hashlib.sha256(picture.content).hexdigest()) == (plot["bytes"], plot["sha256"])
    spectrum = (await stage.http.get(f"/v1/jobs/{job}/artifacts/spectrum.csv")).raise_for_status()
    assert len(list(csv.DictReader(io.StringIO(spectrum.text)))) == over["result"]["frequencies"]

    assert "309 rows" in (await stage.http.get(f"/v1/jobs/{job}/log")).raise_for_status().text
    history = await items(stage, f"/v1/jobs/{job}/history")
    assert [(change["seq"], change["state"]) for change in history] == [(1, "queued"), (2, "running"), (3, "done")]
    assert [change["by"] for change in history] == [ADA, "worker", "worker"]

    await stage.settled()
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}
    assert set(stage.mails.recipients) == {ADA}
    notices = await items(stage, f"/v1/jobs/{job}/notices")
    told = [(each["occasion"], each["channel"], each["recipient"], each["status"]) for each in notices]
    assert told == [("submitted", "email", ADA, "sent"), ("done", "email", ADA, "sent")]
    assert all(each["receipt"].startswith("250 2.0.0 queued as") for each in notices)
    require_mail(stage.mails.mails[-1], picture.content)


def require_mail(mail: EmailMessage, picture: bytes) -> None:
    """Require a mail that says the result in text and in HTML, with the plot inside."""
    assert mail["To"] == ADA
    assert mail["Subject"].startswith("[Heliograph] done: sunspot cycle, requested ")
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert "11." in text.get_content()
    inline = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert inline.get_content_disposition() == "inline"
    assert f"cid:{inline['Content-ID'].strip('<>')}" in html.get_content()
    assert inline.get_payload(decode=True) == picture


async def test_a_repeated_request_is_the_same_job(stage: Stage) -> None:
    key = {"Idempotency-Key": "tonight"}
    first = await stage.http.post("/v1/jobs", json=SUNSPOTS, headers=key)
    again = await stage.http.post("/v1/jobs", json=SUNSPOTS, headers=key)
    assert (first.status_code, again.status_code) == (httpx.codes.CREATED, httpx.codes.OK)
    assert first.json()["id"] == again.json()["id"]
    other = await stage.http.post("/v1/jobs", json={**SUNSPOTS, "name": "another"}, headers=key)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in other.json()["errors"]] == ["Idempotency-Key"]
    await stage.over(first.json()["id"])
    assert len(await items(stage, "/v1/jobs")) == 1


async def test_a_table_of_one_s_own_uploaded_and_inline(stage: Stage) -> None:
    rows = [[float(year), math.sin(2 * math.pi * year / PERIOD_YEARS)] for year in range(1900, 2000)]
    table = "\n".join(["year,value", *(f"{year},{value!r}" for year, value in rows)]).encode()
    answer = await stage.http.post(
        "/v1/uploads", params={"name": "mine.csv"}, content=table, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == httpx.codes.CREATED
    uploaded = answer.json()
    assert (uploaded["bytes"], uploaded["sha256"]) == (len(table), hashlib.sha256(table).hexdigest())

    results = []
    for parameters in ({"table": uploaded["id"]}, {"rows": rows}):
        answer = await stage.http.post("/v1/jobs", json={"backend": "periodogram", "parameters": parameters})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        over = await stage.over(answer.json()["id"])
        assert over["state"] == "done", over["error"]
        results.append(over["result"])
    assert results[0] == results[1]
    assert results[0]["peak_period_years"] == pytest.approx(PERIOD_YEARS, rel=0.02)
    assert results[0]["rows"] == len(rows)


async def test_a_table_that_is_none_fails_with_a_sentence(stage: Stage) -> None:
    unknown = await stage.http.post(
        "/v1/jobs", json={"backend": "periodogram", "parameters": {"table": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}
    )
    assert unknown.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in unknown.json()["errors"]] == ["parameters.table"]

    uploaded = (await stage.http.post("/v1/uploads", content=b"\x00\xff no table")).json()
    answer = await stage.http.post("/v1/jobs", json={"backend": "periodogram", "parameters": {"table": uploaded["id"]}})
    over = await stage.over(answer.json()["id"])
    assert (over["state"], over["error"]["kind"], over["attempt"]) == ("failed", "usage", 1)
    await stage.settled()
    assert ("failed", over["id"].lower()) in stage.letters()
    assert over["error"]["message"] in stage.mails.mails[-1].as_string().replace("=\n", "")


async def test_the_openapi_document_says_what_is_answered(stage: Stage) -> None:
    document = (await stage.api.get("/openapi.json")).raise_for_status().json()
    submitted = await stage.http.post("/v1/jobs", json=SUNSPOTS)
    job = submitted.json()["id"]
    await stage.over(job)
    await stage.settled()
    refused = await stage.http.post("/v1/jobs", json={"backend": "periodogram", "parameters": {"rows": 7}})
    answers = {
        ("/v1/jobs", "post"): submitted,
        ("/v1/jobs/{job_id}", "get"): await stage.http.get(f"/v1/jobs/{job}"),
        ("/v1/jobs/{job_id}/history", "get"): await stage.http.get(f"/v1/jobs/{job}/history"),
        ("/v1/jobs/{job_id}/notices", "get"): await stage.http.get(f"/v1/jobs/{job}/notices"),
        ("/v1/jobs/{job_id}/cancel", "post"): await stage.cancel(job),
        ("/v1/backends", "get"): await stage.http.get("/v1/backends"),
        ("/v1/me", "get"): await stage.http.get("/v1/me"),
    }
    for (path, method), answer in answers.items():
        require_as_documented(document, path, method, answer)
    require_as_documented(document, "/v1/jobs", "post", refused)


def require_as_documented(document: dict[str, Any], path: str, method: str, answer: httpx.Response) -> None:
    """Require that an operation lists the answer's status, and that its body fits the schema given for it."""
    operation = document["paths"][path][method]
    assert operation["summary"], (path, method)
    described = operation["responses"][str(answer.status_code)]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = {**described[media_type]["schema"], "components": document["components"]}
    jsonschema_rs.validate(schema, answer.json())


async def test_every_service_ends_when_it_is_asked_to(stage: Stage) -> None:
    job = await stage.submit()
    await stage.over(job)
    await stage.settled()
    assert await stage.worker.stop(WORKER_GRACE_SECONDS) == 0
    assert await stage.notifier.stop(NOTIFIER_GRACE_SECONDS) == 0
    assert await stage.api.stop(API_GRACE_SECONDS) == 0


async def test_an_api_that_ends_does_not_wait_for_those_who_wait(stage: Stage, rabbitmq_node: RabbitNode) -> None:
    job = await stage.submit(gate=stage.folder / "gate")
    await stage.at_work(job)
    before = await asyncio.to_thread(rabbitmq_node.queues)
    waiting = asyncio.create_task(stage.http.get(f"/v1/jobs/{job}", params={"wait": 50}))

    async def listens() -> bool:
        return await asyncio.to_thread(rabbitmq_node.queues) > before

    await until(listens)  # to events, for the one who waits
    assert await stage.api.stop(API_GRACE_SECONDS) == 0
    answer = await waiting
    assert (answer.status_code, answer.json()["state"]) == (httpx.codes.OK, "running")


@pytest.mark.timeout(300)
async def test_a_worker_that_ends_costs_no_job_an_attempt(stage: Stage) -> None:
    stored = stage.stores.collection
    jobs = []
    left = 0
    for number in range(ROUNDS):
        assert await stage.worker.stop(WORKER_GRACE_SECONDS) == 0
        assert await stored.count_documents({"state": "running"}) == 0
        left += await stored.count_documents({"state": "queued"})
        jobs += [await stage.submit(mark=f"{number}.{each}") for each in range(JOBS)]
        before = await stored.count_documents({"state": "done"})

        async def is_at_work(before: int = before) -> bool:
            return bool(await stored.count_documents({"state": "done"}) > before)

        await stage.worker.start()
        await until(is_at_work)
    assert left, "it was to be stopped amid its work"
    await stage.settled()
    for job in jobs:
        states = [state for state, _ in await stage.history(job)]
        assert states[-2:] == ["running", "done"]
        assert set(zip(states[:-2:2], states[1:-2:2], strict=False)) <= {("queued", "running")}  # those handed back
        assert (await stage.job(job))["attempt"] == 1


async def test_a_worker_that_ends_hands_back_what_would_take_too_long(stage: Stage) -> None:
    await stage.worker.stop()
    await stage.worker.start(drain_seconds=0.5)
    gate = stage.folder / "gate"
    job = await stage.submit(gate=gate)
    await stage.at_work(job)
    assert await stage.worker.stop(WORKER_GRACE_SECONDS) == 0
    assert (await stage.job(job))["state"] == "queued"

    gate.touch()
    await stage.worker.start()
    over = await stage.over(job)
    assert (over["state"], over["attempt"]) == ("done", 1)  # to be handed back costs no attempt
