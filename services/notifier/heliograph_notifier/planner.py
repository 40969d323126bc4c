"""The planner: turns told changes of jobs into deliveries.

A change notes in the job that people are to be told; an event of the bus only shortens the wait for the sweep. What is
planned is stored under a unique key before the note is taken out: an event that comes twice, two planners at once and
a crash between the two writes all end in one delivery each.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from heliograph import faults
from heliograph.events.model import JobEvent
from heliograph.notices.due import DueJob, DueStore
from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import Delivery, Wish
from heliograph.notices.store import Ledger
from heliograph.storage import Batcher, Database, StoreUnavailableError
from heliograph_notifier.metrics import NOTICES, PLANNER_LAG
from heliograph_notifier.rules import Defaults, plan, within_interval

_log = structlog.get_logger()

SWEEP_SECONDS = 1.0


class Planner:
    """Plans notices for one process; ``on_planned`` is called when something new waits to be sent."""

    def __init__(
        self, database: Database, ledger: Ledger, defaults: Defaults, on_planned: Callable[[], None],
    ) -> None:  # fmt: skip
        self._database = database
        self._due = DueStore(database)
        self._intervals = IntervalStore(database)
        self._ledger = ledger
        self._defaults = defaults
        self._on_planned = on_planned
        self._batcher: Batcher[str, None] = Batcher(self._plan_jobs)

    async def handle(self, event: JobEvent) -> None:
        """Plan what an event's job has to tell; returns once that is stored. An event that is known does nothing."""
        await self._batcher.submit(event.data.id, event.data.id, len(event.data.id))

    async def run(self) -> None:
        """Plan what no event announced, until cancelled; an outage of the database pauses it."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except StoreUnavailableError:
                _log.debug("planner waits for the database")

    async def sweep(self) -> None:
        """Plan once what has waited longer than an event takes."""
        jobs = await self._due.stale()
        results = await asyncio.gather(
            *(self._batcher.submit(job, job, len(job)) for job in jobs), return_exceptions=True
        )
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, StoreUnavailableError):
                raise result
            if isinstance(result, Exception):
                _log.error("a job's notices could not be planned", job=job, exc_info=result)

    async def _plan_jobs(self, jobs: Sequence[str]) -> list[Exception | None]:
        """Plan for several jobs; the fault of one is not another's."""
        due = await self._due.read(jobs)
        failures: dict[str, Exception] = {}
        if due:
            clock = await self._database.now()
            deliveries: list[Delivery] = []
            planned: list[DueJob] = []
            for each in due:
                try:
                    deliveries += await self._plan_job(each, clock)
                    planned.append(each)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001 - handed to who asked about this job
                    failures[each.job.id] = error
            new = await self._ledger.insert(deliveries)
            if new:
                faults.reach(faults.Point.PLANNED_NOT_SENT)
                self._on_planned()
            await self._due.settle(planned)
            _count(new)
            oldest = min((event.data.at for each in due for event in each.events), default=clock)
            PLANNER_LAG.set((clock - oldest).total_seconds())
        return [failures.get(job) for job in jobs]

    async def _plan_job(self, due: DueJob, clock: datetime) -> list[Delivery]:
        if len(due.events) < len(due.seqs):
            _log.warning("changes to be told are no longer in the history", job=due.job.id, seqs=due.seqs)
        wishes = read_wishes(due.job.notify.get("wishes", ()))
        deliveries = []
        for event in due.events:
            for delivery in plan(event, due.job, wishes, self._defaults, clock):
                is_free = await self._is_interval_free(delivery, due.identity, event.data.at)
                deliveries.append(delivery if is_free else within_interval(delivery))
        return deliveries

    async def _is_interval_free(self, delivery: Delivery, identity: str, at: datetime) -> bool:
        if delivery.interval_seconds is None:
            return True
        what = f"{identity}|{delivery.channel}|{delivery.recipient}"
        return await self._intervals.take(what, at, timedelta(seconds=delivery.interval_seconds), delivery.key)


def read_wishes(documents: Sequence[Any]) -> list[Wish]:
    """Read a job's wishes; one that names no channel or no recipient is left out and logged."""
    wishes = []
    for document in documents:
        try:
            wishes.append(Wish.from_document(document))
        except (TypeError, AttributeError) as error:
            _log.error("a wish cannot be read", why=str(error))
    return wishes


def _count(deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        NOTICES.labels(delivery.channel, delivery.status.value).inc()
