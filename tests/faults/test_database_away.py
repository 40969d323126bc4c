"""Two minutes without MongoDB while jobs run: none is run twice, and nobody has to restart anything."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from heliograph_standalone.mongod import Mongod
from tests.parts.freezing import freeze
from tests.parts.notifier import until
from tests.parts.services import AWAY, Stage, open_stage, until_true

pytestmark = pytest.mark.faults

OUTAGE_SECONDS = 120.0
FREEZE_SECONDS = 15.0
FROZEN_LEASE_SECONDS = 12  # shorter than that, and yet long enough to find the database again after the others
LATE_LEASE_SECONDS = 12  # rounds of the reconciler come every 2 s; a holder has this long after an outage
AT_ONCE_SECONDS = 1.0  # a refusal takes milliseconds; a search for the server would take two seconds
TRIES = 5  # of which one is as quick, however busy the machine is
BACK_SECONDS = 60.0
BACK = "database is back"


@pytest.fixture
async def mongod(tmp_path: Path, mongodb_url: str) -> AsyncIterator[Mongod]:
    """A mongod of this test alone; asking for the shared one first skips where there is none."""
    mongod = Mongod(tmp_path / "mongod")
    await asyncio.to_thread(mongod.start)
    yield mongod
    await asyncio.to_thread(mongod.stop)


@pytest.fixture
async def stage(mongod: Mongod, tmp_path: Path, database_name: str, rabbitmq_url: str) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path, mongod.url, database_name, rabbitmq_url) as opened:
        yield opened


async def require_refusals(stage: Stage, job: str) -> None:
    """Require that every service says that it is not ready, and that the api refuses at once and says why."""
    for service in stage.services:
        about = (await service.until_status(httpx.codes.SERVICE_UNAVAILABLE)).json()
        assert about["status"] in {"unavailable", "away"}
        assert (await service.get("/healthz")).status_code == httpx.codes.OK
    requests: tuple[Callable[[], Awaitable[httpx.Response]], ...] = (
        lambda: stage.post(key="refused"), lambda: stage.http.get(f"/v1/jobs/{job}"), lambda: stage.cancel(job)
    )  # fmt: skip
    for request in requests:
        took: list[float] = []
        while not took or (min(took) >= AT_ONCE_SECONDS and len(took) < TRIES):
            began = time.monotonic()
            answer = await request()
            took.append(time.monotonic() - began)
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:heliograph:problem:database-unavailable"
            assert "Retry-After" in answer.headers
        assert min(took) < AT_ONCE_SECONDS, took


async def require_each_ran_once(stage: Stage, jobs: list[str]) -> None:
    await stage.settled()
    for job in jobs:
        assert [state for state, _ in await stage.history(job)] == ["queued", "running", "done"]
        assert (stage.begun(job), stage.returned(job)) == ([1], [1])
    letters = {(occasion, job.lower()): 1 for occasion in ("submitted", "done") for job in jobs}
    assert stage.letters() == letters


def require_one_line_each(stage: Stage) -> None:
    """Require that each service said once that the database went, and once that it came back."""
    for service in stage.services:
        said = [line["event"] for line in service.log() if line["event"] in {AWAY, BACK}]
        assert said == [AWAY, BACK], service.name


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_for_two_minutes(stage: Stage, mongod: Mongod) -> None:
    gates = [stage.folder / name for name in ("first gate", "second gate")]
    stage.api.launch()
    stage.notifier.launch()
    await stage.worker.start(slots=2, lease_seconds=30)
    await stage.api.until_ready()
    await stage.notifier.until_ready()
    ends_meanwhile, ends_later = [await stage.submit(gate=gate, leaves="trace.txt") for gate in gates]
    waits = await stage.submit(mark="no slot is free for it")
    await stage.at_work(ends_meanwhile)
    await stage.at_work(ends_later)
    await stage.mails.wait_for_mails(3)

    mongod.kill()
    went = time.monotonic()
    await require_refusals(stage, ends_later)
    gates[0].touch()
    await until_true(lambda: stage.returned(ends_meanwhile))
    await asyncio.sleep(went + OUTAGE_SECONDS - time.monotonic())  # the outage is what is tested
    await require_refusals(stage, ends_later)
    assert (stage.begun(ends_later), stage.returned(ends_later)) == ([1], [])
    await asyncio.to_thread(mongod.start)

    await asyncio.gather(*(service.until_ready(BACK_SECONDS) for service in stage.services))
    over = await stage.over(ends_meanwhile)
    assert over["result"] == {"attempt": 1}
    assert [artifact["name"] for artifact in over["artifacts"]] == ["trace.txt"]
    assert (await stage.over(waits))["state"] == "done"
    gates[1].touch()
    assert (await stage.over(ends_later))["state"] == "done"
    await require_each_ran_once(stage, [ends_meanwhile, ends_later, waits])
    require_one_line_each(stage)


async def test_frozen_for_longer_than_a_lease(stage: Stage, mongod: Mongod) -> None:
    gate = stage.folder / "gate"
    await stage.start(lease_seconds=FROZEN_LEASE_SECONDS)
    job = await stage.submit(gate=gate, leaves="trace.txt")
    await stage.at_work(job)
    await stage.mails.wait_for_mails(1)

    assert mongod.pid
    freeze(mongod.pid)
    went = time.monotonic()
    submission = asyncio.create_task(stage.post(key="asked too late"))  # it meets a server that does not answer
    await require_refusals(stage, job)
    gate.touch()
    await asyncio.sleep(max(0.0, went + FREEZE_SECONDS - time.monotonic()))  # the outage is what is tested
    mongod.resume()

    answer = await submission
    assert answer.status_code in {httpx.codes.CREATED, httpx.codes.SERVICE_UNAVAILABLE}
    await asyncio.gather(*(service.until_ready(BACK_SECONDS) for service in stage.services))
    again = await stage.post(key="asked too late")
    if answer.status_code == httpx.codes.CREATED:
        assert (again.status_code, again.json()["id"]) == (httpx.codes.OK, answer.json()["id"])
    await stage.over(again.json()["id"])
    assert (await stage.over(job))["attempt"] == 1
    assert await stage.stores.collection.count_documents({}) == 2
    await require_each_ran_once(stage, [job, again.json()["id"]])
    require_one_line_each(stage)


async def test_a_worker_that_is_late_after_the_outage_keeps_its_job(stage: Stage, mongod: Mongod) -> None:
    gate = stage.folder / "gate"
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start(lease_seconds=LATE_LEASE_SECONDS)
    job = await stage.submit(gate=gate)
    await stage.at_work(job)

    mongod.kill()
    stage.worker.suspend()  # so that it is the last to find the database back, after its lease has run out
    await asyncio.sleep(LATE_LEASE_SECONDS)  # a lease has to run out
    await asyncio.to_thread(mongod.start)
    await stage.api.until_ready(BACK_SECONDS)
    await stage.stores.database.wait_connected()
    for _ in range(2):
        await reconciled(stage)
    stage.worker.resume()

    gate.touch()
    assert (await stage.over(job))["attempt"] == 1
    await require_each_ran_once(stage, [job])


async def reconciled(stage: Stage) -> None:
    """Return once the reconciler has begun another round, which renews its lock."""
    locks = stage.stores.database.collection("locks")
    before = await locks.find_one({"_id": "reconciler"})

    async def has_begun() -> bool:
        return bool(await locks.find_one({"_id": "reconciler"}) != before)

    await until(has_begun)
