"""``heliograph.client.Agent``: each job by itself, whatever goes wrong with another, with the service or with it."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.backends import Cancelled, UsageError
from heliograph.client import Agent, Client, HeldJob, ProblemError, agent
from tests.parts.api import Api, open_api
from tests.parts.queues import PullQueue, open_queue
from tests.parts.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "pull-queues.md"
PROGRAM = """
import sys
from heliograph.client import Agent, Client

def work(job):
    print("begun", flush=True)
    sys.stdin.readline()
    return "read"

with Client(*sys.argv[1:3]) as client:
    Agent(client, sys.argv[3], work, "a program", most=3).run()
print("over")
"""

_MOST_SECONDS = 60

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


def token_of(queue: PullQueue) -> str:
    return queue.agents.headers["authorization"].removeprefix("Bearer ")


def run(queue: PullQueue, work: Callable[[HeldJob, Agent], Any], most: int = 10, client: Client | None = None) -> None:
    """Run an agent, which ``work`` ends."""
    with client or Client(queue.api.url, token_of(queue)) as connected:
        made = Agent(connected, queue.name, lambda job: work(job, made), "dome-1", most=most)
        last = threading.Timer(_MOST_SECONDS, made.end)  # else a fault would never end
        last.start()
        made.run()
        last.cancel()


async def submit(queue: PullQueue, *names: str, **fields: Any) -> dict[str, str]:
    return {name: (await queue.submit(name=name, **fields))["id"] for name in names}


async def states(queue: PullQueue, jobs: dict[str, str]) -> dict[str, str]:
    return {name: (await queue.job(job))["state"] for name, job in jobs.items()}


class Hindered:
    """Work in which something different goes wrong with each job, by its name."""

    def __init__(self, queue: PullQueue, jobs: dict[str, str]) -> None:
        self._queue, self._jobs = queue, jobs
        self._loop = asyncio.get_running_loop()
        self._by_name: dict[str, Callable[[HeldJob], Any]] = {
            "of a key": lambda job: job.parameters["target"], "usage": self._complain, "none": lambda _: object(),
            "surrogate": lambda _: "\ud800", "large": lambda _: "x" * 1_100_000, "taken away": self._lose,
            "stopped": self._stop, "unwished": self._give_up,
        }  # fmt: skip

    def __call__(self, job: HeldJob, made: Agent) -> Any:
        name = str(job.view.name)
        if name == "last":
            made.end()
        act = self._by_name.get(name)
        return act(job) if act else {"name": name}

    def _complain(self, _job: HeldJob) -> None:
        raise UsageError("there is no such filter")

    def _lose(self, job: HeldJob) -> None:
        self._ask(self._queue.manager, job.id, "release")
        job.progress(0.5)  # refused, which is no exception
        assert job.stop_reason == "lost"

    def _stop(self, job: HeldJob) -> None:
        self._ask(self._queue.api.ada, self._jobs["stop early"], "cancel")
        self._ask(self._queue.api.ada, job.id, "cancel")
        assert not job.cancelled
        job.progress(0.5, stage="EXPOSING", eta=timedelta(seconds=3), message="1 of 2")
        if job.stop_reason == "cancelled":
            raise Cancelled

    def _give_up(self, _job: HeldJob) -> None:
        raise Cancelled

    def _ask(self, who: httpx.AsyncClient, job: str, what: str) -> None:
        asyncio.run_coroutine_threadsafe(who.post(f"/v1/jobs/{job}/{what}"), self._loop).result(_MOST_SECONDS)


async def test_no_job_is_the_end_of_the_others(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    jobs = await submit(
        queue, "of a key", "usage", "none", "surrogate", "large", "taken away", "stopped", "unwished", "stop early",
        "well", "last",
    )  # fmt: skip
    await asyncio.to_thread(run, queue, Hindered(queue, jobs), 20)
    found = {name: await queue.job(job) for name, job in jobs.items()}
    errors = {name: (job["error"] or {}).get("message") for name, job in found.items() if job["state"] == "failed"}
    assert errors == {
        "of a key": "KeyError: 'target'", "usage": "there is no such filter",
        "none": "TypeError: Object of type object is not JSON serializable",
        "surrogate": errors["surrogate"], "large": errors["large"],
    }  # fmt: skip
    assert errors["surrogate"].startswith("UnicodeEncodeError")
    assert errors["large"].startswith("its result cannot be kept: ")
    assert found["usage"]["error"]["kind"] == "usage"
    assert found["taken away"]["state"] == "queued"
    cancelled = {name for name, job in found.items() if job["state"] == "cancelled"}
    assert cancelled == {"stopped", "unwished", "stop early"}
    assert [found[name]["result"] for name in ("well", "last")] == [{"name": "well"}, {"name": "last"}]


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
async def test_who_is_to_end_gives_back_what_is_not_begun(api: Api, delivery: str) -> None:
    queue = await open_queue(api, lease_seconds=None, delivery=delivery)
    jobs = await submit(queue, "first", "second", "third")

    def work(job: HeldJob, made: Agent) -> str:
        made.end()
        return "well"

    await asyncio.to_thread(run, queue, work)
    expected = "queued" if delivery == "at_least_once" else "failed"
    assert await states(queue, jobs) == {"first": "done", "second": expected, "third": expected}
    if delivery == "at_most_once":
        error = (await queue.job(jobs["second"]))["error"]
        assert error["kind"] == "transient"
        assert error["message"] == "its agent was stopped before it began: nothing of it was done"


async def test_what_is_held_is_kept_while_another_is_done(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=3)
    jobs = await submit(queue, "first", "second", timeout_seconds=3600)
    leases: set[datetime] = set()
    enough = threading.Event()

    def work(job: HeldJob, made: Agent) -> None:
        assert job.deadline is not None
        if job.view.name == "second":
            made.end()
        assert enough.wait(60)

    running = asyncio.create_task(asyncio.to_thread(run, queue, work))

    async def is_renewed() -> bool:
        stored = await api.jobs.find_one({"_id": jobs["second"], "lease.until": {"$type": "date"}})
        if stored:
            leases.add(stored["lease"]["until"])
        return len(leases) == 4

    await until(is_renewed)
    enough.set()
    await running
    assert await states(queue, jobs) == {"first": "done", "second": "done"}
    assert (await queue.job(jobs["second"]))["attempt"] == 1


async def test_while_the_service_is_away_nothing_is_forgotten(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to each request is lost, once it is taken, until nobody repeats it any more, and once again."""
    monkeypatch.setattr(agent, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("heliograph.client.asking.PAUSE_SECONDS", ())
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    jobs = await submit(queue, "first", "second")
    lost: dict[str, int] = {}

    def work(job: HeldJob, made: Agent) -> str:
        job.progress(0.5)
        if job.view.name == "second":
            made.end()
            lost["told to end"] = 9
        return "well"

    client = Client(api.url, token_of(queue))
    request = client._http.request

    def losing(method: str, path: str, **fields: Any) -> httpx.Response:
        answer = request(method, path, **fields)
        what = f"{path} {sorted(fields.get('json', ()))}"
        lost[what] = lost.get(what, 0) + 1
        if method == "POST" and lost[what] <= 2 and "told to end" not in lost:
            raise httpx.ReadError("the answer was lost")
        return answer

    monkeypatch.setattr(client._http, "request", losing)
    await asyncio.to_thread(run, queue, work, 1, client)
    assert await states(queue, jobs) == {"first": "done", "second": "done"}
    assert {(await queue.job(job))["attempt"] for job in jobs.values()} == {1}


async def test_a_wrong_queue_is_said_at_the_start(api: Api) -> None:
    queue, other = await open_queue(api), await open_queue(api)

    def work() -> None:
        with Client(api.url, token_of(queue)) as client, pytest.raises(ProblemError, match="no queue"):
            Agent(client, other.name, lambda job: None, "dome-1").run()

    await asyncio.to_thread(work)


async def start(queue: PullQueue, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *words, env=os.environ | {
            "HELIOGRAPH_URL": queue.api.url, "HELIOGRAPH_TOKEN": token_of(queue),
        }, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("is_patient", [True, False], ids=["finishes", "is interrupted"])
async def test_a_signal_ends_it(api: Api, is_patient: bool) -> None:
    queue = await open_queue(api, lease_seconds=None, max_attempts=1)
    jobs = await submit(queue, "first", "second", "third")
    process = await start(queue, "-c", PROGRAM, api.url, token_of(queue), queue.name)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGTERM)
    assert b"told to end" in await process.stderr.readline()
    if not is_patient:
        process.send_signal(signal.SIGTERM)  # while it waits for a line
        await asyncio.wait_for(process.wait(), _MOST_SECONDS)
    output, _ = await process.communicate(b"a line\n" if is_patient else None)
    assert (process.returncode, output) == ((0, b"over\n") if is_patient else (143, b""))
    first = "done" if is_patient else "failed"
    assert await states(queue, jobs) == {"first": first, "second": "queued", "third": "queued"}
    if not is_patient:
        error = (await queue.job(jobs["first"]))["error"]
        assert (error["kind"], error["message"]) == ("transient", "its agent was stopped in the midst of it")


async def test_the_agent_of_the_page_works(api: Api, tmp_path: Path) -> None:
    queue = await open_queue(api, "site mrc1", lease_seconds=None, delivery="at_most_once")
    (program,) = [
        text
        for text in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        if "def " in text
    ]
    (tmp_path / "agent.py").write_text(program)
    process = await start(queue, str(tmp_path / "agent.py"))
    try:
        jobs = [await queue.submit(parameters=each) for each in ({"frames": "x"}, {"frames": 101}, {})]
        over = [await api.over(job, queue.agents) for job in jobs]
    finally:
        process.send_signal(signal.SIGTERM)
        output = await process.communicate()
    assert process.returncode == 0, output
    assert [job["state"] for job in over] == ["failed", "failed", "done"]
    assert over[1]["error"]["message"] == "frames: 100 at most"
    assert (over[2]["result"], over[2]["progress"]) == ({"frames": 3}, 1)
