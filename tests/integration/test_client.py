"""The Python client against a running api."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from heliograph.client import Client, ProblemError, asking
from heliograph.jobs.store import ClaimStore
from heliograph.jobs.store.claims import LEASE
from heliograph_standalone.mongod import Mongod
from tests.parts.api import ADA, Api, open_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUM = {"left": 2, "right": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


def client_of(api: Api) -> Client:
    return Client(api.url, api.ada.headers["authorization"].removeprefix("Bearer "))


async def test_a_job_from_its_submission_to_its_result(api: Api, tmp_path: Path) -> None:
    def work() -> None:
        with client_of(api) as client:
            job = client.submit("sum", SUM, name="a sum", notify=False)
            assert (job.state, job.owner, job.name) == ("queued", ADA, "a sum")
            done = client.wait(job.id, seconds=60)
            assert (done.state, done.result) == ("done", {"total": 5})
            assert client.retry(job.id).series == 2
            assert client.wait(job.id).series == 2

    async with api.worker(tmp_path, "good:add"):
        await asyncio.to_thread(work)


async def test_files_go_up_and_come_down(api: Api, tmp_path: Path) -> None:
    (tmp_path / "table é.csv").write_text("1,2\n")

    def work() -> None:
        with client_of(api) as client:
            upload = client.upload(tmp_path / "table é.csv")
            assert (upload.name, upload.bytes) == ("table é.csv", 4)
            read = client.wait(client.submit("read", {"table": upload.id}).id, seconds=60)
            assert read.result == ["1,2\n"]
            made = client.wait(client.submit("files", {}).id, seconds=60)
            target = client.download(made.id, "table.csv", tmp_path / "downloaded")
            assert target.read_bytes() == b"1,2\n"
            with pytest.raises(ProblemError, match=r"no artifact a/b\?c#d"):
                client.download(made.id, "a/b?c#d", tmp_path / "other")
            assert not (tmp_path / "other").exists()
            talk = client.wait(client.submit("talk", {}).id, seconds=60)
            assert "to standard output\n" in client.log(talk.id)

    async with api.worker(tmp_path / "scratch", "good:read", "good:files", "good:talk"):
        await asyncio.to_thread(work)


async def test_a_list_goes_over_all_pages(api: Api) -> None:
    def work() -> None:
        with client_of(api) as client:
            ids = [client.submit("sum", SUM, group="pages").id for _ in range(5)]
            assert [job.id for job in client.jobs(group="pages", limit=2, state=None)] == ids[::-1]
            assert "sum" in [backend.name for backend in client.backends()]
            assert client.notices(ids[0]) == []

    await asyncio.to_thread(work)


async def test_a_refusal_is_the_apis_own_problem(api: Api) -> None:
    def work() -> None:
        with client_of(api) as client:
            with pytest.raises(ProblemError) as caught:
                client.submit("sum", {"left": "x"})
            assert caught.value.problem.status == 422
            assert caught.value.problem.errors
            assert caught.value.problem.errors[0].field == "parameters.left"
            with pytest.raises(ProblemError, match="there is no job"):
                client.job("nonsense")

    await asyncio.to_thread(work)


async def test_an_id_cannot_lead_elsewhere(api: Api) -> None:
    def work() -> None:
        with client_of(api) as client, pytest.raises(ProblemError) as caught:
            client.job("../me")
        assert caught.value.problem.status == 404

    await asyncio.to_thread(work)


async def test_a_wait_that_takes_too_long_is_a_timeout(api: Api) -> None:
    def work() -> None:
        with client_of(api) as client:
            job = client.submit("sum", SUM)
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="queued"):
                client.wait(job.id, seconds=0.5)
            assert time.monotonic() - began >= 0.5
            client.cancel(job.id)
            assert client.wait(job.id, seconds=60).state == "cancelled"

    await asyncio.to_thread(work)


async def test_a_submission_answered_late_is_stored_once(api: Api) -> None:
    """The first answer is lost on its way: the client asks again under the same key."""

    def work() -> None:
        with client_of(api) as client:
            lost = LoseFirstAnswer(client._http._transport)
            client._http._transport = lost
            job = client.submit("sum", SUM, group="lost answer")
            assert lost.asked == 2
            assert [each.id for each in client.jobs(group="lost answer")] == [job.id]

    await asyncio.to_thread(work)


class LoseFirstAnswer(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.asked = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if request.method == "POST":
            self.asked += 1
            if self.asked == 1:
                answer.read()
                raise httpx.ReadError("the connection broke")
        return answer

    def close(self) -> None:
        self._inner.close()


async def test_what_has_no_key_is_not_repeated(api: Api) -> None:
    job = await api.submit()

    def work() -> None:
        with client_of(api) as client:
            client._http._transport = LoseFirstAnswer(client._http._transport)
            with pytest.raises(httpx.ReadError):
                client.cancel(job["id"])

    await asyncio.to_thread(work)


@pytest.mark.faults
async def test_it_waits_while_the_database_restarts(tmp_path: Path) -> None:
    with Mongod(tmp_path) as mongod:
        async with open_api(mongod.url) as api:
            await asyncio.to_thread(mongod.stop)
            with client_of(api) as client:
                submitting = asyncio.create_task(asyncio.to_thread(client.submit, "sum", SUM))
                while (await api.ada.get("/readyz")).status_code == httpx.codes.OK:  # noqa: ASYNC110 - only HTTP tells
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(mongod.start)
                job = await submitting
            assert await api.stored() == 1
            claimed = await ClaimStore(api.database).claim(("sum",), "worker", LEASE)
            assert claimed
            assert claimed.id == job.id


async def test_its_patience_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_SECONDS", (0.01, 0.01))
    with pytest.raises(httpx.ConnectError), Client("http://127.0.0.1:1") as client:
        client.backends()
