"""A log that is followed over HTTP while its job prints."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn

from heliograph.jobs.store import JobStore, LogStore
from heliograph.jobs.store.logs import LogChunk
from heliograph_api import following
from heliograph_api.following import Follower
from heliograph_api.server import Server
from heliograph_standalone.mongod import Mongod
from heliograph_worker.logs import HEAD, TAIL
from tests.parts.api import Api, open_api, problem
from tests.parts.printing import HANDED_BACK, RETRIED, Attempt
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


class Followed:
    """A followed log: what came of it so far, and whether it ended by itself."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.text = b""
        self.has_ended = False

    async def shows(self, text: bytes) -> None:
        await until(lambda: self.text == text)

    async def ends(self, text: bytes) -> None:
        await until(lambda: self.has_ended)
        assert self.text == text


@asynccontextmanager
async def followed(api: Api, job: str, *, url: str | None = None, **query: Any) -> AsyncIterator[Followed]:
    path = f"{url or api.url}/v1/jobs/{job}/log"
    async with api.ada.stream("GET", path, params={"follow": True, **query}) as answer:
        seen = Followed(answer.status_code)

        async def read() -> None:
            async for data in answer.aiter_raw():
                seen.text += data
            seen.has_ended = True

        reading = asyncio.create_task(read())
        try:
            yield seen
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.result()


async def test_what_is_printed_is_shown_while_it_runs(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"one\n")
    async with followed(api, job) as log:
        await log.shows(b"one\n")
        await attempt.prints(b"two\n")
        await log.shows(b"one\ntwo\n")
        await attempt.prints(b"three\n")
        await attempt.ends()
        await log.ends(b"one\ntwo\nthree\n")
    async with followed(api, job) as log:
        await log.ends(b"one\ntwo\nthree\n")
    async with followed(api, job, series=1, attempt=1) as log:
        await log.ends(b"one\ntwo\nthree\n")


async def test_a_job_that_waits_is_waited_for(api: Api) -> None:
    job = (await api.submit())["id"]
    async with followed(api, job) as log, followed(api, job, attempt=1) as first:
        assert log.status == httpx.codes.OK  # told before there is anything to tell
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"at last\n")
        await log.shows(b"at last\n")
        assert not log.has_ended
        await attempt.ends()
        await log.ends(b"at last\n")
        await first.ends(b"at last\n")


async def test_a_job_that_is_cancelled_before_it_began_ends(api: Api) -> None:
    job = (await api.submit())["id"]
    async with followed(api, job) as log:
        await api.ada.post(f"/v1/jobs/{job}/cancel")
        await log.ends(b"")


async def test_a_retry_is_followed_on(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"no line's end")
    async with followed(api, job) as log, followed(api, job, attempt=1) as first, followed(api, job, attempt=2) as last:
        await log.shows(b"no line's end")
        await attempt.ends(RETRIED)
        await first.ends(b"no line's end")
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"again\n")
        await log.shows(b"no line's end\n--- attempt 2 ---\nagain\n")
        await attempt.ends()
        await log.ends(b"no line's end\n--- attempt 2 ---\nagain\n")
        await last.ends(b"again\n")
    async with followed(api, job) as log:  # as without it: the last attempt
        await log.ends(b"again\n")


async def test_an_attempt_that_printed_nothing_is_told_from_the_next(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    async with followed(api, job) as log:
        await attempt.ends(RETRIED)
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"again\n")
        await attempt.ends()
        await log.ends(b"--- attempt 2 ---\nagain\n")


async def test_an_attempt_that_was_handed_back_is_followed_on(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"begun\n")
    async with followed(api, job) as log, followed(api, job, attempt=1) as first:
        await log.shows(b"begun\n")
        await attempt.ends(HANDED_BACK)
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"begun\n")
        await attempt.ends()
        await log.ends(b"begun\n--- attempt 1 ---\nbegun\n")
        await first.ends(b"begun\n--- attempt 1 ---\nbegun\n")


async def test_a_follower_stays_with_its_series(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"first\n")
    await attempt.ends()
    await JobStore(api.database).reopen(job, "ada")
    async with followed(api, job) as log, followed(api, job, series=1) as before:
        await before.ends(b"first\n")
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"second\n")
        await attempt.ends()
        await log.ends(b"second\n")


async def test_a_broken_answer_is_resumed_by_its_bytes(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    for piece in (b"0123", b"4567", b"89"):
        await attempt.prints(piece)
    await attempt.ends(HANDED_BACK)
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"x")
    await attempt.ends()
    whole = b"0123456789\n--- attempt 1 ---\nx"
    for offset in (0, 4, 6, 10, 20, len(whole), 1000):
        async with followed(api, job, attempt=1, offset=offset) as log:
            await log.ends(whole[offset:])
        plain = await api.ada.get(f"/v1/jobs/{job}/log", params={"attempt": 1, "offset": offset})
        assert plain.content == b"0123456789x"[offset:]
    problem(await api.ada.get(f"/v1/jobs/{job}/log?offset=1&follow=true"), 422, "offset")
    problem(await api.ada.get(f"/v1/jobs/{job}/log?attempt=1&offset=-1"), 422, "offset")


async def test_nobody_follows_anothers_job(api: Api) -> None:
    job = await api.submit()
    problem(await api.bob.get(f"/v1/jobs/{job['id']}/log?follow=true"), 404)
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")


async def test_an_answer_lasts_so_long_and_no_longer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LONGEST_SECONDS", 0.3)
    job = (await api.submit())["id"]
    async with followed(api, job) as log:
        await log.ends(b"")
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"begun\n")
    async with followed(api, job) as log:
        await log.ends(b"begun\n")
    await attempt.ends()


async def test_a_service_that_ends_does_not_wait_for_its_followers(mongodb_url: str) -> None:
    async with open_api(mongodb_url) as api:
        job = (await api.submit())["id"]
        attempt = await Attempt.at(api, job)
        await attempt.prints(b"begun\n")
        waits = (await api.submit())["id"]
        config = uvicorn.Config(api.app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=60)
        server = Server(api.app, config)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with followed(api, job, url=url) as log, followed(api, waits, url=url) as waiting:
            await log.shows(b"begun\n")
            server.should_exit = True
            async with asyncio.timeout(30):  # half of what uvicorn gives it
                await serving
            await log.ends(b"begun\n")
            await waiting.ends(b"")


async def test_a_job_that_is_removed_ends(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"begun\n")
    async with followed(api, job) as log:
        await log.shows(b"begun\n")
        await api.jobs.delete_one({"_id": job})
        await log.ends(b"begun\n")


@pytest.mark.faults
async def test_an_outage_of_the_database_is_outlasted_unless_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mongod(tmp_path) as mongod:
        async with open_api(mongod.url) as api:
            job = (await api.submit())["id"]
            attempt = await Attempt.at(api, job)
            await attempt.prints(b"before\n")
            async with followed(api, job) as log:
                await log.shows(b"before\n")
                await asyncio.to_thread(mongod.stop)
                await until(lambda: not api.database.is_connected)
                assert not log.has_ended
                await asyncio.to_thread(mongod.start)
                await api.database.wait_connected()
                await attempt.prints(b"after\n")
                await log.shows(b"before\nafter\n")
                monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.5)
                await asyncio.to_thread(mongod.stop)
                await log.ends(b"before\nafter\n")


class PrintsMeanwhile(LogStore):
    """A log that grows, and whose attempt ends, just after it was read for the first time."""

    def __init__(self, api: Api, attempt: Attempt) -> None:
        super().__init__(api.database)
        self._attempt: Attempt | None = attempt

    async def read(self, job: str, series: int, attempt: int, *, after: int | None = None) -> AsyncIterator[LogChunk]:
        async for chunk in super().read(job, series, attempt, after=after):
            yield chunk
        if self._attempt is not None:
            printing, self._attempt = self._attempt, None
            await printing.prints(b"last\n")
            await printing.ends()


async def test_what_is_printed_between_two_looks_is_not_lost(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    await attempt.prints(b"first\n")
    parts, jobs = api.app.state.parts, JobStore(api.database)
    follower = Follower(PrintsMeanwhile(api, attempt), parts.waiting, partial(jobs.get, job), await jobs.get(job))
    assert [piece async for piece in follower.text()] == [b"first\n", b"last\n"]


async def test_a_worker_is_followed_from_its_first_line_to_its_last(api: Api, tmp_path: Path) -> None:
    job = (await api.submit(backend="progress", parameters={"folder": str(tmp_path)}))["id"]
    async with followed(api, job) as log, api.worker(tmp_path / "scratch", "good:steps"):
        await log.shows(b"begun\n")
        (tmp_path / "seen").touch()
        await until(lambda: log.has_ended)
    assert log.text == (await api.ada.get(f"/v1/jobs/{job}/log")).content
    assert log.text.count(b"ignored a progress") == 4


async def test_a_log_that_is_cut_comes_whole(api: Api, tmp_path: Path) -> None:
    job = (await api.submit(backend="much", parameters={}))["id"]
    async with followed(api, job) as log, api.worker(tmp_path / "scratch", "bad:much"):
        await until(lambda: log.has_ended)
    assert HEAD + TAIL < len(log.text) < HEAD + TAIL + 100
    assert b"bytes left out here]\n" in log.text
    assert log.text.endswith(b" 99999\n")
