"""A log that is followed with the Python client and on the command line, over connections that break."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.client import Client, asking
from heliograph.client import client as module
from heliograph_api import following
from tests.parts.api import Api, open_api
from tests.parts.printing import RETRIED, Attempt
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


def client_of(api: Api) -> Client:
    return Client(api.url, api.ada.headers["authorization"].removeprefix("Bearer "))


@asynccontextmanager
async def client_follows(client: Client, job: str) -> AsyncIterator[tuple[list[str], "asyncio.Task[None]"]]:
    """Follow a log in a thread; gives the pieces so far, and what ends with the log."""
    pieces: list[str] = []

    def read() -> None:
        pieces.extend(client.follow_log(job))

    reading = asyncio.create_task(asyncio.to_thread(read))
    try:
        yield pieces, reading
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(reading, 10)


async def test_the_client_yields_characters_whole_and_attempts_apart(api: Api) -> None:
    job = (await api.submit())["id"]
    attempt = await Attempt.at(api, job)
    telescope = "🔭".encode()
    await attempt.prints(b"a " + telescope[:1])
    asked: list[str] = []
    with client_of(api) as client:
        client._http.event_hooks = {"request": [lambda request: asked.append(request.url.path)]}
        async with client_follows(client, job) as (pieces, reading):
            await until(lambda: pieces == ["a "])
            await attempt.prints(telescope[1:3])
            await attempt.prints(telescope[3:] + b" z")
            await until(lambda: "".join(pieces) == "a 🔭 z")
            await attempt.ends(RETRIED)
            attempt = await Attempt.at(api, job)
            await attempt.prints("é".encode()[:1])
            await attempt.ends()
            await reading
        assert "".join(pieces) == "a 🔭 z\n--- attempt 2 ---\n\ufffd"  # the half of a character that was printed
        assert asked.count(f"/v1/jobs/{job}/log") <= 2 * 2  # of each attempt one that waits, and one that finds it over
        async with client_follows(client, job) as (pieces, reading):  # over: as without it, the last attempt
            await reading
        assert pieces == ["\ufffd"]


async def test_the_client_goes_on_where_an_answer_broke_or_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LONGEST_SECONDS", 0.2)
    for each in (module, asking):
        monkeypatch.setattr(each, "PAUSE_SECONDS", (0.01,) * 5)
    job = (await api.submit())["id"]
    with client_of(api) as client:
        client._http._transport = breaking = BreakWithin(client._http._transport)
        async with client_follows(client, job) as (pieces, reading):
            await until(lambda: breaking.opened > 1)
            attempt = await Attempt.at(api, job)
            for number in range(5):
                await attempt.prints(f"{number} ö\n".encode())
                await until(partial(breaking.is_past, breaking.opened))
            await attempt.ends()
            await reading
    assert "".join(pieces) == "0 ö\n1 ö\n2 ö\n3 ö\n4 ö\n"
    assert breaking.broken > 1


class BreakWithin(httpx.BaseTransport):
    """Breaks off each answer that is a log after three bytes, which is within a character."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.opened = self.broken = 0

    def is_past(self, opened: int) -> bool:
        return self.opened > opened

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if request.url.path.endswith("/log"):
            self.opened += 1
            answer.stream = Broken(self, answer.stream)
        return answer

    def close(self) -> None:
        self._inner.close()


class Broken(httpx.SyncByteStream):
    def __init__(self, breaks: BreakWithin, inner: Any) -> None:
        self._breaks = breaks
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        for data in self._inner:
            yield data[:3]
            self._breaks.broken += 1
            raise httpx.ReadError("the connection broke")

    def close(self) -> None:
        self._inner.close()


async def test_the_command_line_prints_it_as_it_comes(api: Api, tmp_path: Path) -> None:
    job = (await api.submit(backend="progress", parameters={"folder": str(tmp_path)}))["id"]
    token = api.ada.headers["authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", "from heliograph.client.cli import main; main()", "log", "-f", job,
        env=os.environ | {"HELIOGRAPH_URL": api.url, "HELIOGRAPH_TOKEN": token},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    async with api.worker(tmp_path / "scratch", "good:steps"):
        assert await process.stdout.readline() == b"begun\n"
        (tmp_path / "seen").touch()
        rest = await process.stdout.read()
    assert await process.wait() == 0
    assert rest.count(b"ignored a progress") == 4
