"""The census: how much waits, is held, was given up and is stuck, as metrics of this process.

Each process counts for itself, every 15 seconds. While the database is away there is no reading: an old one would look
like a new one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from heliograph.dead.service import Dead, Tally
from heliograph.jobs.store.census import CensusStore, Waiting
from heliograph.storage import Database, StoreUnavailableError

_log = structlog.get_logger()

PERIOD_SECONDS = 15.0
REST_FACTOR = 100  # a count of very much is made so seldom that it takes a hundredth of the time
MOST_QUEUES = 100  # labels of their own; a queue's name is anybody's choice, and each label costs its scraper
OTHERS = "other"


@dataclass(frozen=True, slots=True)
class Reading:
    """One count; what waits and what is held is by queue."""

    at: datetime
    waiting: Mapping[str, Waiting]
    held: Mapping[str, int]
    tally: Tally


class CensusMetrics(Collector):
    """Shows the last reading; nothing where there is none."""

    def __init__(self) -> None:
        self.reading: Reading | None = None

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the reading."""
        return ()

    @override
    def collect(self) -> Iterable[Metric]:
        return [] if self.reading is None else families(self.reading)


METRICS = CensusMetrics()
REGISTRY.register(METRICS)


class Census:
    """Counts, and shows what it counted."""

    def __init__(self, database: Database, dead: Dead, metrics: CensusMetrics = METRICS) -> None:
        self._database = database
        self._store = CensusStore(database)
        self._dead = dead
        self._metrics = metrics

    async def run(self) -> None:
        """Count until cancelled; an outage of the database pauses it."""
        try:
            while True:
                began = time.monotonic()
                await self.take()
                rest = REST_FACTOR * (time.monotonic() - began) if self._metrics.reading else 0.0
                await asyncio.sleep(max(PERIOD_SECONDS, rest))
        finally:
            self._metrics.reading = None

    async def take(self) -> None:
        """Count once."""
        reading = None
        try:
            waiting, held = await self._store.waiting(), await self._store.held()
            reading = Reading(await self._database.now(), waiting, held, await self._dead.tally(waiting, held))
        except StoreUnavailableError:
            _log.debug("the census waits for the database")
        except Exception:  # noqa: BLE001 - metrics are missing then, and nothing else may be
            _log.exception("the census failed, goes on")
        finally:
            self._metrics.reading = reading


def families(reading: Reading) -> list[Metric]:
    """Return a reading as metrics; queues beyond the 100 busiest are one, called ``other``."""
    waiting = GaugeMetricFamily("heliograph_queue_waiting_jobs", "Jobs that wait to be claimed", labels=["queue"])
    oldest = GaugeMetricFamily(
        "heliograph_queue_oldest_waiting_seconds", "How long the longest waiting job could be claimed", labels=["queue"]
    )
    held = GaugeMetricFamily("heliograph_queue_held_jobs", "Jobs that a worker or an agent holds", labels=["queue"])
    jobs: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    holds: Counter[str] = Counter()
    labels = _labels(reading)
    for queue, label in labels.items():
        holds[label] += reading.held.get(queue, 0)
        seconds.setdefault(label, 0.0)
        if found := reading.waiting.get(queue):
            jobs[label] += found.jobs
            seconds[label] = max(seconds[label], (reading.at - found.since).total_seconds())
    for label in dict.fromkeys(labels.values()):
        waiting.add_metric([label], jobs[label])
        oldest.add_metric([label], seconds[label])
        held.add_metric([label], holds[label])
    tally = reading.tally
    return [
        waiting, oldest, held,
        GaugeMetricFamily("heliograph_dead_jobs", "Jobs given up; 10000 stands for more, too", tally.jobs),
        GaugeMetricFamily("heliograph_dead_events", "Events that no notifier took; likewise", tally.events),
        GaugeMetricFamily("heliograph_stuck_jobs", "Jobs with which nothing happens, by each cause", tally.stuck),
    ]  # fmt: skip


def _labels(reading: Reading) -> dict[str, str]:
    """Return each queue's label; the busiest have most to do, waiting or held."""
    busy = Counter({queue: found.jobs for queue, found in reading.waiting.items()}) + Counter(reading.held)
    shown = {queue for queue, _ in busy.most_common(MOST_QUEUES)}
    return {queue: queue if queue in shown else OTHERS for queue in sorted(busy)}
