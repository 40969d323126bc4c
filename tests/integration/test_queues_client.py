"""Pull queues with the Python client and on the command line."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.client import Client, ProblemError
from heliograph.jobs.states import State
from tests.parts.api import Api, open_api, problem
from tests.parts.queues import MANAGER, ok, open_queue

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


def token_of(client: httpx.AsyncClient) -> str:
    return client.headers["authorization"].removeprefix("Bearer ")


async def run(api: Api, *words: str, code: int = 0) -> str:
    """Run ``heliograph`` as the manager of queues and return what it printed."""
    token = token_of(api.client(MANAGER, "queue manager"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", "from heliograph.client.cli import main; main()", *words,
        env=os.environ | {"HELIOGRAPH_URL": api.url, "HELIOGRAPH_TOKEN": token, "COLUMNS": "80"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output


async def test_an_agent_works_with_the_client(api: Api) -> None:
    def work() -> None:
        with Client(api.url, token_of(api.client(MANAGER, "queue manager"))) as manager:
            name = "mrc 1/enclosure"
            assert manager.declare_queue(name, once="active", lease_seconds=60).lease_seconds == 60
            issued = manager.issue_token(name, "dome 1")
            assert manager.pause_queue(name).paused
            assert not manager.resume_queue(name).paused
            job = manager.submit_to(name, {"open": True}, name="open the dome")
            assert manager.queue(name).queued == 1
        with Client(api.url, issued.token) as agent:
            assert [queue.name for queue in agent.queues()] == [name]
            [claimed] = agent.claim(name, "dome-1", key="a night")
            assert agent.claim(name, "dome-1", key="a night") == [claimed]
            token = claimed.lease_token
            assert claimed.job.id == job.id
            assert agent.report(job.id, token, state="running", stage="opening").stage == "opening"
            assert not agent.heartbeat(job.id, token).cancel_requested
            assert agent.release(job.id, token).state is State.QUEUED
            [again] = agent.claim(name, "dome-1", most=5, lease_seconds=30, wait=1)
            assert agent.report(job.id, again.lease_token, state="done", result=[1]).result == [1]
            with pytest.raises(ProblemError, match="already"):
                agent.heartbeat(job.id, again.lease_token)

    await asyncio.to_thread(work)


async def test_what_may_be_repeated_is_while_the_service_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the first try of each is lost on the way."""
    queue = await open_queue(api, lease_seconds=None)
    await queue.submit()
    await queue.submit()
    lost: list[str] = []

    def work() -> None:
        with Client(api.url, token_of(queue.agents)) as agent:
            request = agent._http.request

            def losing(method: str, path: str, **fields: Any) -> httpx.Response:
                answer = request(method, path, **fields)
                if path not in lost:
                    lost.append(path)
                    raise httpx.ReadError("the answer was lost")
                return answer

            monkeypatch.setattr(agent._http, "request", losing)
            [claimed] = agent.claim(queue.name, "dome-1", most=1)
            agent.heartbeat(claimed.job.id, claimed.lease_token)
            assert agent.report(claimed.job.id, claimed.lease_token, state="done").state is State.DONE

    await asyncio.to_thread(work)
    assert len(lost) == 3
    found = await queue.read()
    assert (found["queued"], found["claimed"]) == (1, 0)


async def test_a_queue_is_managed_on_the_command_line(api: Api) -> None:
    name = "night [red]7[/red]"
    assert name in await run(api, "queue", "declare", name, '{"title": "Commands", "once": "ever"}')
    assert "paused" in (await run(api, "queue", "pause", name)).splitlines()[1]
    assert "Commands" in await run(api, "queues")
    lines = (await run(api, "queue", "token", name, "dome 1")).splitlines()
    token = next(line for line in lines if line.startswith("hgq_"))
    assert ok(await api.bearer(token).get("/v1/me"))["name"] == "dome 1"
    assert "no queue" in await run(api, "queue", "resume", "nobody declared this", code=1)
    line = next(line for line in (await run(api, "queue", "tokens", name)).splitlines() if "dome 1" in line)
    identifier = line.split()[0]
    assert f"queue revoke {identifier}" in "\n".join(lines)
    assert identifier in await run(api, "queue", "tokens")
    assert "revoked" in await run(api, "queue", "revoke", identifier)
    assert (await api.bearer(token).get("/v1/me")).status_code == httpx.codes.UNAUTHORIZED


async def test_a_job_is_submitted_to_a_queue_and_the_queue_deleted(api: Api) -> None:
    await run(api, "queue", "declare", "domes", '{"paused": true}')
    output = await run(api, "submit", "--queue", "domes", '{"open": true}')
    assert "the queue domes is paused" in output
    assert ["queue", "domes"] in [line.split() for line in output.splitlines()]
    assert "domes is a pull queue: submit with `queue`" in await run(api, "submit", "domes", code=1)
    assert "did you mean domes?" in await run(api, "submit", "--queue", "dome", code=1)
    assert "1 of its jobs are not over" in (waits := await run(api, "queue", "delete", "domes", code=1))
    assert "release" not in waits
    job = next(line.split()[1] for line in output.splitlines() if line.startswith("job "))
    await run(api, "cancel", job, code=0)
    assert "gone" in await run(api, "queue", "delete", "domes")
    assert "domes" not in await run(api, "queues")


async def test_what_a_dead_agent_holds_is_taken_back(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    job = (await queue.submit())["id"]
    await queue.claim_one()
    assert "1 are held" in (held := await run(api, "queue", "delete", queue.name, code=1))
    assert "heliograph queue release ID" in held
    output = await run(api, "queue", "release", job)
    assert ["state", "queued"] in [line.split() for line in output.splitlines()]
    assert "nobody holds the job: it is queued" in await run(api, "queue", "release", job, code=1)
    await queue.claim_one()
    ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
    assert "lease_token" in problem(await queue.agents.post(f"/v1/jobs/{job}/release"), 422, "lease_token")["detail"]
    assert ok(await queue.manager.post(f"/v1/jobs/{job}/release"))["state"] == "cancelled"
    problem(await queue.manager.post(f"/v1/jobs/{job}/release", content=b"[]"), 422)
    problem(await queue.manager.post(f"/v1/jobs/{job}/heartbeat"), 400)
