"""A wish to cancel that races with the end, with a retry and with a lost lease: a job ends once, whoever was first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from heliograph.jobs.states import OVER
from tests.faults.subscriber import Subscriber
from tests.parts.notifier import ADA, until
from tests.parts.services import BRIEF_SECONDS, Service, Stage, until_true

pytestmark = pytest.mark.faults

RACES = 20


async def ended_once(stage: Stage, subscriber: Subscriber, job: str) -> dict[str, Any]:
    """Return the job once it is over and nothing runs that could still end it; require that it ended once."""
    over = await stage.over(job)
    await stage.settled()
    for service in stage.services:
        if service.name.startswith("worker") and service.code() is None:
            await is_idle(service)
    story = [state for state, _ in await stage.history(job)]
    assert [state for state in story if state in OVER] == [over["state"]] == story[-1:]
    await subscriber.hear_all({job: over["seq"]})
    told = [state for (told_of, _), state in subscriber.states.items() if told_of == job]
    assert [state for state in told if state in OVER] == [over["state"]]
    assert await stage.job(job) == over
    return over


async def let_lease_run_out(stage: Stage, job: str) -> None:
    """Let a lease be over now, and have been so short that nobody has to be connected for long to say so."""
    over = {"lease.until": datetime.now(UTC) - timedelta(seconds=1), "lease.ms": 1}
    await stage.stores.collection.update_one({"_id": job}, {"$set": over})


async def is_idle(worker: Service) -> None:
    async def has_no_job() -> bool:
        return "heliograph_worker_running_jobs 0.0" in (await worker.get("/metrics")).text

    await until(has_no_job)


def require_consistent(over: dict[str, Any]) -> None:
    """Require that the job says one thing: done with a result, or cancelled without."""
    if over["state"] == "done":
        assert (over["result"], over["error"]) == ({"attempt": over["attempt"]}, None)
    else:
        assert (over["state"], over["result"], over["error"]["kind"]) == ("cancelled", None, "cancelled")


async def test_done_first(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start()
    job = await stage.submit()
    over = await stage.over(job)
    refused = await stage.cancel(job)
    assert refused.status_code == httpx.codes.CONFLICT
    assert refused.json()["detail"] == "the job is done already"
    assert await ended_once(stage, subscriber, job) == over


async def test_the_wish_first_and_then_the_code_returns(stage: Stage, subscriber: Subscriber) -> None:
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start()
    gate = stage.folder / "gate"
    job = await stage.submit(gate=gate)
    await stage.at_work(job)

    stage.worker.suspend()  # so that it finds the wish and the result together
    assert (await stage.cancel(job)).json()["cancel_requested"]
    gate.touch()
    await until_true(lambda: stage.returned(job))
    stage.worker.resume()

    over = await ended_once(stage, subscriber, job)
    assert over["cancel_requested"]
    require_consistent(over)


async def test_both_at_once_many_times(stage: Stage, subscriber: Subscriber) -> None:
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start(slots=RACES)
    gates = [stage.folder / f"gate-{number}" for number in range(RACES)]
    jobs = [await stage.submit(gate=gate) for gate in gates]
    await asyncio.gather(*map(stage.at_work, jobs))

    async def race(number: int) -> httpx.Response:
        if number % 2:
            gates[number].touch()
            return await stage.cancel(jobs[number])
        wish = asyncio.create_task(stage.cancel(jobs[number]))
        await asyncio.sleep(0.002 * number)  # the later ones are stopped before they may go on
        gates[number].touch()
        return await wish

    answers = [await race(number) for number in range(RACES)]
    for job, answer in zip(jobs, answers, strict=True):
        over = await ended_once(stage, subscriber, job)
        require_consistent(over)
        if answer.status_code == httpx.codes.CONFLICT:
            assert over["state"] == "done"
        else:
            assert answer.json()["cancel_requested"]


async def test_a_retry_first(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start()
    job = await stage.submit(fails=1)
    await until_true(lambda: stage.returned(job))
    await stage.in_state(job, "queued")
    cancelled = await stage.cancel(job)
    assert cancelled.json()["state"] == "cancelled"
    require_consistent(await ended_once(stage, subscriber, job))
    assert stage.begun(job) == [1]


async def test_the_wish_first_and_then_a_failure_that_would_be_retried(stage: Stage, subscriber: Subscriber) -> None:
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start()
    gate = stage.folder / "gate"
    job = await stage.submit(fails=1, gate=gate)
    await stage.at_work(job)
    stage.worker.suspend()
    gate.touch()
    await until_true(lambda: stage.returned(job))
    assert (await stage.cancel(job)).json()["state"] == "running"
    stage.worker.resume()

    over = await ended_once(stage, subscriber, job)
    assert over["state"] == "cancelled"
    require_consistent(over)
    assert stage.begun(job) == [1]
    # Not even queued for a moment, which people would be shown.
    assert [state for state, _ in await stage.history(job)] == ["queued", "running", "cancelled"]


async def test_the_lease_lost_first(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start(lease_seconds=BRIEF_SECONDS)
    job = await stage.submit(gate=stage.folder / "gate")
    await stage.at_work(job)
    await stage.worker.kill()
    await stage.in_state(job, "queued")
    assert (await stage.cancel(job)).json()["state"] == "cancelled"

    await stage.worker.start()
    require_consistent(await ended_once(stage, subscriber, job))
    assert stage.begun(job) == [1]


async def test_the_wish_first_and_then_the_lease_is_lost(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start()
    job = await stage.submit(gate=stage.folder / "gate")
    await stage.at_work(job)
    await stage.worker.kill()
    assert (await stage.cancel(job)).json()["state"] == "running"
    await let_lease_run_out(stage, job)

    await stage.worker.start()
    over = await ended_once(stage, subscriber, job)
    assert over["state"] == "cancelled"
    require_consistent(over)
    assert stage.begun(job) == [1]
    assert await stage.history(job) == [("queued", ADA), ("running", "worker"), ("cancelled", ADA)]
