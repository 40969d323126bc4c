"""What belongs to a job: its log and its artifacts; and the files that people upload for one."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.jobs.model import Artifact
from heliograph.jobs.states import State
from heliograph.jobs.store import ClaimStore
from heliograph.jobs.store.claims import LEASE, Finish
from heliograph.storage import Files
from heliograph.wire import ArtifactPage, UploadView
from tests.parts.api import Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_UPLOAD_BYTES = 600_000  # more than two of the store's chunks


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, most_upload_bytes=MOST_UPLOAD_BYTES) as opened:
        yield opened


async def with_artifact(api: Api, name: str, media_type: str, content: bytes) -> dict[str, Any]:
    """Return a job that is done and made this file, as a worker would have stored it."""
    job = await api.submit(backend="files", parameters={})

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    stored = await Files(api.database, "artifacts").put(chunks(), name=name, media_type=media_type, job=job["id"])
    claims = ClaimStore(api.database)
    claimed = await claims.claim(("files",), "worker", LEASE)
    assert claimed
    assert claimed.id == job["id"]
    assert claimed.lease
    artifact = Artifact(name, stored.id, media_type, stored.bytes, stored.sha256)
    assert await claims.finish(job["id"], claimed.lease.token, Finish(State.DONE, artifacts=(artifact,)), "worker")
    return job


async def test_a_log_is_what_the_job_printed(api: Api, tmp_path: Path) -> None:
    job = await api.submit(backend="talk", parameters={})
    assert (await api.ada.get(f"/v1/jobs/{job['id']}/log")).text == ""
    async with api.worker(tmp_path, "good:talk"):
        await api.over(job)
    answer = await api.ada.get(f"/v1/jobs/{job['id']}/log")
    assert "to standard output\n" in answer.text
    assert "from a subprocess\n" in answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await api.ada.get(f"/v1/jobs/{job['id']}/log", params={"attempt": 1, "series": 1})).text == answer.text
    assert (await api.ada.get(f"/v1/jobs/{job['id']}/log", params={"attempt": 2})).text == ""


async def test_artifacts_are_listed_and_downloaded(api: Api, tmp_path: Path) -> None:
    job = await api.submit(backend="files", parameters={})
    async with api.worker(tmp_path, "good:files"):
        done = await api.over(job)
    page = ArtifactPage.model_validate((await api.ada.get(f"/v1/jobs/{job['id']}/artifacts")).json())
    assert [each.model_dump() for each in page.items] == done["artifacts"]
    assert {each.name: each.media_type for each in page.items} == {
        "table.csv": "text/csv", "plot.png": "image/png", "notes": "text/x-notes",
    }  # fmt: skip
    for each in page.items:
        answer = await api.ada.get(f"/v1/jobs/{job['id']}/artifacts/{each.name}")
        assert hashlib.sha256(answer.content).hexdigest() == each.sha256
        assert answer.headers["content-length"] == str(each.bytes)
        assert answer.headers["etag"] == f'"{each.sha256}"'
    assert answer.headers["content-type"].startswith("text/x-notes")
    problem(await api.ada.get(f"/v1/jobs/{job['id']}/artifacts/other.csv"), 404)


@pytest.mark.parametrize(
    ("media_type", "how"),
    [("text/html", "attachment"), ("image/svg+xml", "attachment"), ("application/xhtml+xml", "attachment"),
     ("text/html; charset=utf-8", "attachment"), ("IMAGE/PNG", "attachment"), ("image/png", "inline"),
     ("text/plain", "inline")],
)  # fmt: skip
async def test_only_what_cannot_act_is_shown_in_place(api: Api, media_type: str, how: str) -> None:
    job = await with_artifact(api, "page", media_type, b"<script>alert(1)</script>")
    headers = (await api.ada.get(f"/v1/jobs/{job['id']}/artifacts/page")).headers
    assert headers["content-disposition"].startswith(f"{how};")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("name", ['"; filename=evil.exe', "𓂀 plot.png", "a;b,c=d", "per%20cent", "#1?x"])
async def test_a_name_cannot_leave_its_header(api: Api, name: str) -> None:
    job = await with_artifact(api, name, "image/png", b"PNG")
    answer = await api.ada.get(httpx.URL(f"/v1/jobs/{job['id']}/artifacts/").join(_quoted(name)))
    assert answer.content == b"PNG"
    disposition = answer.headers["content-disposition"]
    assert disposition == f"inline; filename*=UTF-8''{_quoted(name)}"


@pytest.mark.parametrize("media_type", ["text/plain\r\nX-Evil: 1", "𓂀/png", ""])
async def test_a_media_type_that_no_header_holds_is_not_sent(api: Api, media_type: str) -> None:
    job = await with_artifact(api, "odd", media_type, b"odd")
    answer = await api.ada.get(f"/v1/jobs/{job['id']}/artifacts/odd")
    assert answer.content == b"odd"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "x-evil" not in answer.headers


async def test_an_artifact_whose_file_is_gone_is_not_found(api: Api) -> None:
    job = await with_artifact(api, "gone", "text/plain", b"gone")
    await api.database.collection("artifacts.files").delete_many({"metadata.job": job["id"]})
    problem(await api.ada.get(f"/v1/jobs/{job['id']}/artifacts/gone"), 404)


async def test_an_upload_is_read_by_a_job(api: Api, tmp_path: Path) -> None:
    uploads = []
    for content in ("one", "two"):
        answer = await api.ada.post(
            "/v1/uploads", params={"name": "tablé.csv"}, content=content, headers={"content-type": "text/csv"}
        )
        assert answer.status_code == httpx.codes.CREATED
        upload = UploadView.model_validate(answer.json())
        assert (upload.name, upload.media_type, upload.bytes) == ("tablé.csv", "text/csv", 3)
        assert upload.sha256 == hashlib.sha256(content.encode()).hexdigest()
        assert (await api.ada.get(answer.headers["location"])).json() == answer.json()
        uploads.append(upload.id)
    job = await api.submit(backend="read", parameters={"table": uploads[0], "more": [uploads[1], None, uploads[0]]})
    async with api.worker(tmp_path, "good:read"):
        done = await api.over(job)
    assert (done["state"], done["result"]) == ("done", ["one", "two", None, "one"])


async def test_an_upload_over_the_limit_leaves_nothing(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MOST_UPLOAD_BYTES // 100_000 + 1):
            yield b"x" * 100_000

    before = await _files(api)
    problem(await api.ada.post("/v1/uploads", content=chunks()), 413)
    problem(await api.ada.post("/v1/uploads", content=b"x" * (MOST_UPLOAD_BYTES + 1)), 413)
    assert await _files(api) == before
    assert (await api.ada.post("/v1/uploads", content=b"x" * MOST_UPLOAD_BYTES)).status_code == httpx.codes.CREATED


async def test_an_upload_declared_over_the_limit_is_refused_before_it_comes(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    writer.write(
        f"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nAuthorization: {api.ada.headers['authorization']}\r\n"
        f"Content-Length: {MOST_UPLOAD_BYTES + 1}\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_anothers_upload_is_refused_like_one_that_is_not_there(api: Api) -> None:
    theirs = (await api.bob.post("/v1/uploads", content=b"secret")).json()["id"]
    problem(await api.ada.get(f"/v1/uploads/{theirs}"), 404)
    before = await api.stored()
    details = []
    for upload in (theirs, "0" * 24, "nonsense", "\x00", "../x"):
        body = {"backend": "read", "parameters": {"table": upload}}
        details.append(problem(await api.ada.post("/v1/jobs", json=body), 422, "parameters.table")["detail"])
    own = (await api.ada.post("/v1/uploads", content=b"mine")).json()["id"]
    body = {"backend": "read", "parameters": {"table": own, "more": [None, theirs]}}
    problem(await api.ada.post("/v1/jobs", json=body), 422, "parameters.more.1")
    assert len(set(details)) == 1
    assert await api.stored() == before


async def test_more_uploads_than_a_job_takes_are_refused(api: Api) -> None:
    body = {"backend": "read", "parameters": {"table": "x", "more": [f"{number:024x}" for number in range(101)]}}
    problem(await api.ada.post("/v1/jobs", json=body), 422, "parameters")


@pytest.mark.parametrize("name", ["", "n" * 201, "two\nlines", "nul\x00"])
async def test_an_upload_has_a_name_that_can_be_shown(api: Api, name: str) -> None:
    before = await _files(api)
    problem(await api.ada.post("/v1/uploads", params={"name": name}, content=b"x"), 422, "name")
    assert await _files(api) == before


async def _files(api: Api) -> tuple[int, int]:
    """Return how many files and how many pieces of files are stored."""
    files, pieces = api.database.collection("uploads.files"), api.database.collection("uploads.chunks")
    return await files.count_documents({}), await pieces.count_documents({})


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


async def test_a_form_is_refused_for_its_envelope_would_be_kept(api: Api) -> None:
    answer = await api.ada.post("/v1/uploads", files={"file": ("table.csv", b"1,2")})
    assert "--data-binary" in problem(answer, 422, "Content-Type")["detail"]
