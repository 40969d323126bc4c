"""The Python in a mail, run as a reader would run it: it submits the same request again."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from heliograph.jobs.model import Job
from heliograph.jobs.store import JobStore
from heliograph_notifier.links import Links
from tests.parts.api import ADA, Api, open_api
from tests.parts.mails import DELIVERY, mail, part

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADING = "The same again, in Python:\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def stored(api: Api, identifier: str) -> Job:
    return await JobStore(api.database).with_history(identifier)


def program(api: Api, job: Job) -> str:
    """The snippet, copied out of the text of the mail about a job."""
    text = part(mail(job, replace(DELIVERY, seq=job.seq), links=Links(api.url, None)), "plain").partition(HEADING)[2]
    lines = text.lstrip("\n").split("\n")
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return "\n".join(line[4:] for line in lines[:end])


def run(text: str, token: str, folder: Path) -> list[str]:
    environment = {**os.environ, "HELIOGRAPH_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a \"sum\", it's Röntgen's", "group": "sums", "timeout_seconds": 60},
        {"handler": "https://example.org/1?a=1&b=2", "max_attempts": 5},
    ],
)
async def test_it_asks_for_the_same_again(api: Api, tmp_path: Path, fields: dict[str, Any]) -> None:
    asked = {"backend": "sum", "parameters": {"left": 2, "right": 3}, "notify": False, **fields}
    async with api.worker(tmp_path, "good:add"):
        answer = await api.ada.post("/v1/jobs", json=asked)
        assert answer.status_code == 201, answer.text
        first = (await api.ada.get(f"/v1/jobs/{answer.json()['id']}", params={"wait": 20})).json()
        assert first["state"] == "done"
        text = program(api, await stored(api, first["id"]))
        token = api.ada.headers["authorization"].removeprefix("Bearer ")
        assert token not in text
        identifier, state = await asyncio.to_thread(run, text, token, tmp_path)
    assert state == "done"
    again = await stored(api, identifier)
    before = await stored(api, first["id"])
    assert again.id != before.id
    assert (again.owner, again.parameters, again.result) == (ADA, before.parameters, before.result)
    for name in ("queue", "backend", "name", "group", "handler", "timeout_seconds", "max_attempts", "priority"):
        assert getattr(again, name) == getattr(before, name), name
