"""RabbitMQ restarted under load, and away throughout: nothing is lost, and only news wait for it."""

import asyncio

import httpx
import pytest

from tests.faults.subscriber import Subscriber
from tests.parts.notifier import until
from tests.parts.rabbitmq import RabbitNode
from tests.parts.services import Stage, until_true

pytestmark = pytest.mark.faults

CLIENTS = 8
JOBS = 300
JOBS_WITHOUT_BROKER = 100
PAUSE_SECONDS = 0.2  # of a client that was told to try again


async def submit_until_taken(stage: Stage, key: str) -> str:
    """Submit as a well-behaved client does: again under the same key while the service is away."""
    while True:
        answer = await stage.post(key=key, mark=key, notify={"email": {"submitted": False}})
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return str(answer.raise_for_status().json()["id"])
        await asyncio.sleep(PAUSE_SECONDS)


async def require_each_ended_once(stage: Stage, subscriber: Subscriber, jobs: list[str]) -> None:
    """Require that each job ran once, ended once, and told of each of its changes."""
    async for document in stage.stores.collection.find({"_id": {"$in": jobs}}):
        assert [entry["state"] for entry in document["history"]] == ["queued", "running", "done"]
    begun = [stage.begun(job) for job in jobs]
    assert begun == [[1]] * len(jobs)
    await subscriber.hear_all(dict.fromkeys(jobs, 3))
    assert set(subscriber.seen) == {(job, seq) for job in jobs for seq in (1, 2, 3)}


async def require_whole(stage: Stage) -> None:
    """Require that every service finds back to the broker; the longest pause between two tries is 5 s."""

    async def is_whole() -> bool:
        answers = [await service.get("/readyz") for service in stage.services]
        return all(answer.json()["status"] == "ok" for answer in answers)

    await until(is_whole)


@pytest.mark.timeout(300)
async def test_restarted_under_load(stage: Stage, subscriber: Subscriber, rabbitmq_node: RabbitNode) -> None:
    await stage.start()
    await stage.announced()
    jobs: list[str] = []
    numbers = iter(range(JOBS))

    async def client() -> None:
        for number in numbers:
            jobs.append(await submit_until_taken(stage, f"job {number}"))  # noqa: PERF401 - counted while it grows

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        await until_true(lambda: len(jobs) >= JOBS // 3)
        await asyncio.to_thread(rabbitmq_node.restart)

    await stage.settled(seconds=200)
    assert len(set(jobs)) == JOBS
    await require_each_ended_once(stage, subscriber, jobs)
    assert stage.letters() == {("done", job.lower()): 1 for job in jobs}
    await require_whole(stage)
    assert "lease lost, job stopped" not in stage.worker.warnings()


@pytest.mark.timeout(300)
async def test_away_throughout(stage: Stage, subscriber: Subscriber, rabbitmq_node: RabbitNode) -> None:
    await asyncio.to_thread(rabbitmq_node.stop)
    await stage.start()
    for service in stage.services:
        ready = await service.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (httpx.codes.OK, "degraded")
    await stage.announced()
    jobs = [(await stage.post(mark=str(number))).json()["id"] for number in range(JOBS_WITHOUT_BROKER)]

    mails = {(occasion, job.lower()): 1 for occasion in ("submitted", "done") for job in jobs}
    await until_true(lambda: len(stage.mails.mails) >= len(mails), seconds=200)
    assert stage.letters() == mails
    assert {(await stage.job(job))["state"] for job in jobs} == {"done"}

    await asyncio.to_thread(rabbitmq_node.start)
    await require_each_ended_once(stage, subscriber, jobs)
    await stage.settled()
    assert stage.letters() == mails
    await require_whole(stage)
