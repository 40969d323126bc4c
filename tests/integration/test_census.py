"""The census: what waits, is held, was given up and is stuck, as metrics."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from heliograph.bus.port import DeadEvent
from heliograph.dead.service import Dead, Tally
from heliograph.dead.store import LetterStore, ensure_dead_indexes
from heliograph.events.model import JobEvent, JobEventData
from heliograph.ids import new_id
from heliograph.jobs.states import State
from heliograph.jobs.store.census import Waiting
from heliograph_api import census as census_module
from heliograph_api.census import Census, CensusMetrics, Reading
from heliograph_standalone.mongod import Mongod
from tests.parts.api import open_api
from tests.parts.jobs import Stores, failed
from tests.parts.waiting import until

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Counted:
    """A census on a database of a test, and what it shows."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._metrics = CensusMetrics()
        unused: Any = None
        dead = Dead(stores.database, unused, unused, unused)
        self._census = Census(stores.database, dead, self._metrics)
        self._registry = CollectorRegistry()
        self._registry.register(self._metrics)

    async def take(self) -> dict[str, dict[str, float]]:
        """Count, and return each metric's values by queue; the empty word where a metric has no queues."""
        await self._census.take()
        return self.shown()

    def show(self, reading: Reading) -> dict[str, dict[str, float]]:
        self._metrics.reading = reading
        return self.shown()

    def shown(self) -> dict[str, dict[str, float]]:
        return values(generate_latest(self._registry).decode())


def values(text: str) -> dict[str, dict[str, float]]:
    return {
        family.name.removeprefix("heliograph_"): {
            sample.labels.get("queue", ""): sample.value for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
    }


@pytest.fixture
async def census(stores: Stores) -> Counted:
    await ensure_dead_indexes(stores.database)
    return Counted(stores)


async def test_it_counts_by_queue_and_forgets_what_is_over(census: Counted) -> None:
    stores = census.stores
    nothing = await census.take()
    assert nothing["queue_waiting_jobs"] == {}
    assert nothing["dead_jobs"] == {"": 0}
    for queue in ("spectra", "spectra", "plots"):
        await stores.submit(queue=queue)
    await stores.submit(queue="later", not_before=datetime.now(UTC) + timedelta(hours=1))
    held = await stores.claim(timedelta(seconds=30), "spectra")
    counted = await census.take()
    assert counted["queue_waiting_jobs"] == {"spectra": 1, "plots": 1}
    assert counted["queue_held_jobs"] == {"spectra": 1, "plots": 0}
    await stores.finish(held, failed())
    counted = await census.take()
    assert counted["queue_held_jobs"] == {"spectra": 0, "plots": 0}
    assert counted["dead_jobs"] == {"": 1}
    for _ in range(2):
        await stores.claim(timedelta(seconds=30), "spectra", "plots")
    assert (await census.take())["queue_waiting_jobs"] == {"spectra": 0, "plots": 0}
    await stores.collection.delete_many({"queue": "plots"})
    assert set((await census.take())["queue_held_jobs"]) == {"spectra"}


async def test_a_job_waits_from_when_it_could_be_claimed(census: Counted) -> None:
    now = datetime.now(UTC)
    for queue, submitted, not_before in (
        ("old", timedelta(hours=2), None), ("old", timedelta(hours=1), None),
        ("postponed", timedelta(days=3), timedelta(minutes=10)), ("retried", timedelta(minutes=5), timedelta(days=1)),
    ):  # fmt: skip
        job = await census.stores.submit(queue=queue)
        fields = {"updated_at": now - submitted} | ({"not_before": now - not_before} if not_before else {})
        await census.stores.collection.update_one({"_id": job.id}, {"$set": fields})
    waited = (await census.take())["queue_oldest_waiting_seconds"]
    assert waited == {"old": pytest.approx(7200, abs=60), "postponed": pytest.approx(600, abs=60),
                      "retried": pytest.approx(300, abs=60)}  # fmt: skip


async def test_it_counts_dead_events_and_stuck_jobs(census: Counted) -> None:
    data = JobEventData(
        id=new_id(), state=State.DONE, series=1, seq=2, told=True, queue="q", owner="ada", at=datetime.now(UTC)
    )
    await LetterStore(census.stores.database).keep(DeadEvent(JobEvent.of_change(data)))
    waiting, held, untold = [(await census.stores.submit(queue=queue)).id for queue in ("waits", "held", "told")]
    await census.stores.claims.claim(["held"], "the dome", None, into=State.CLAIMED)
    await census.stores.claims.claim(["told"], "worker", timedelta(seconds=30))
    counted = await census.take()
    assert (counted["dead_events"], counted["stuck_jobs"]) == ({"": 1}, {"": 0})
    long_ago = datetime.now(UTC) - timedelta(days=2)
    for job, field in (
        (waiting, "updated_at"), (held, "updated_at"), (untold, "outbox.0.at"), (untold, "notices_due.0.at"),
    ):  # fmt: skip
        await census.stores.collection.update_one({"_id": job}, {"$set": {field: long_ago}})
    assert (await census.take())["stuck_jobs"] == {"": 4}


def test_beyond_the_busiest_queues_one_label_stands_for_the_rest(census: Counted) -> None:
    waiting = {f"q{number:03}": Waiting(number + 1, NOW - timedelta(seconds=number)) for number in range(150)}
    waiting["other"] = Waiting(1000, NOW - timedelta(seconds=7))  # a queue of that very name is among the rest
    shown = census.show(Reading(NOW, waiting, {"q149": 3, "q000": 2, "only held": 1}, Tally(0, 0, 0)))
    jobs, waited, held = (
        shown[name] for name in ("queue_waiting_jobs", "queue_oldest_waiting_seconds", "queue_held_jobs")
    )
    assert len(jobs) == len(waited) == len(held) == 100
    assert jobs["q149"] == 150
    assert held["q149"] == 3
    assert jobs["other"] == 1000 + sum(range(1, 52))
    assert waited["other"] == 50
    assert held["other"] == 3
    assert sum(jobs.values()) == 1000 + sum(range(1, 151))


@pytest.mark.faults
async def test_a_database_that_is_away_has_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "PERIOD_SECONDS", 0.05)
    monkeypatch.setattr(census_module, "REST_FACTOR", 0)  # after a count that took long, a minute's rest
    with Mongod(tmp_path) as mongod:
        async with open_api(mongod.url) as api:

            async def metrics() -> dict[str, dict[str, float]]:
                return values((await api.ada.get("/metrics")).text)

            async def waiting() -> float | None:
                return (await metrics()).get("queue_waiting_jobs", {}).get("sum")

            async def is_shown(number: float | None) -> bool:
                return await waiting() == number

            await api.submit()
            await until(lambda: is_shown(1))
            await asyncio.to_thread(mongod.stop)
            await until(lambda: is_shown(None))
            assert not {"dead_jobs", "dead_events", "stuck_jobs"} & set(await metrics())
            await asyncio.to_thread(mongod.start)
            await until(lambda: is_shown(1))
    assert census_module.METRICS.reading is None  # nobody counts any more
