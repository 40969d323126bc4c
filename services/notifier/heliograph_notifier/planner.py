"""The planner: turns told changes of jobs into deliveries.

A change notes in the job that people are to be told; an event of the bus only shortens the wait for the sweep. What is
planned is stored under a unique key before the note is taken out: an event that comes twice, two planners at once and
a crash between the two writes all end in one delivery each. What is told with a group goes to its campaign instead,
before the note is taken out as well.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import structlog

from heliograph import faults
from heliograph.events.model import JobEvent
from heliograph.notices.due import DueJob, DueStore
from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import Delivery, Occasion, Wish
from heliograph.notices.notify import Notify
from heliograph.notices.store import Ledger
from heliograph.storage import Batcher, Database, StoreUnavailableError
from heliograph_notifier.bulletins import Announcer
from heliograph_notifier.campaigns.model import Member, News
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.contacts.absence import unfound
from heliograph_notifier.gathering import Gathering, Told
from heliograph_notifier.intervals import keep_interval
from heliograph_notifier.metrics import PLANNER_LAG, count_planned
from heliograph_notifier.rules import OCCASIONS, plan

_log = structlog.get_logger()

SWEEP_SECONDS = 1.0


class Planner:
    """Plans notices for one process; ``on_planned`` is called when something new waits to be sent.

    ``incidents`` are told of reported problems; ``channels`` are those over which anything is sent here.
    """

    def __init__(
        self, database: Database, ledger: Ledger, gathering: Gathering, campaigns: CampaignStore,
        on_planned: Callable[[], None], *, incidents: Sequence[Wish] = (), channels: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._database = database
        self._due = DueStore(database)
        self._intervals = IntervalStore(database)
        self._ledger = ledger
        self._gathering = gathering
        self._campaigns = campaigns
        self._channels = channels
        self._announcer = Announcer(database, ledger, incidents, channels, on_planned)
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
        """Plan once the bulletins, and what has waited longer than an event takes."""
        await self._announcer.sweep()
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
            told = await self._gathering.gather(due, clock)
            deliveries: list[Delivery] = []
            news: list[News] = []
            planned: list[DueJob] = []
            for each in due:
                if each.job.id not in told:
                    continue
                try:
                    own, with_group = await self._plan_job(each, told[each.job.id], clock)
                    deliveries += own
                    news += with_group
                    planned.append(each)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001 - handed to who asked about this job
                    failures[each.job.id] = error
            await self._campaigns.note(news)
            new = await self._ledger.insert(deliveries)
            if new:
                faults.reach(faults.Point.PLANNED_NOT_SENT)
                self._on_planned()
            await self._due.settle(planned)
            if waiting := [each.job.id for each in due if each.job.id not in told]:
                await self._due.postpone(waiting)
            count_planned(new)
            oldest = min((event.data.at for each in planned for event in each.events), default=clock)
            PLANNER_LAG.set((clock - oldest).total_seconds())
        return [failures.get(job) for job in jobs]

    async def _plan_job(self, due: DueJob, told: Told, clock: datetime) -> tuple[list[Delivery], list[News]]:
        if len(due.events) < len(due.seqs):
            _log.warning("changes to be told are no longer in the history", job=due.job.id, seqs=due.seqs)
        notify = Notify.from_document(due.job.notify)
        deliveries: list[Delivery] = []
        news: list[News] = []
        for event in due.events:
            deliveries += unfound(event, told.absences, clock)
            planned = plan(
                event, due.job, told.recipients, told.mutes, clock, is_urgent=notify.is_urgent, channels=self._channels
            )
            for delivery in planned.deliveries:
                deliveries.append(await keep_interval(self._intervals, delivery, due.identity, event.data.at))
            if planned.with_group and due.job.group:
                saw_begin = OCCASIONS[event.data.state] is Occasion.SUBMITTED
                members = tuple(Member(each, saw_begin) for each in planned.with_group)
                news.append(
                    News(due.job.owner, due.job.group, event.data.at, members, notify.is_urgent, notify.is_confidential)
                )
        return deliveries, news
