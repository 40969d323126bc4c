"""What is new of the work that live messages are about: one look at a time, and only at what may have changed."""

import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from heliograph.errors import NotFoundError
from heliograph.jobs.store import SetStore
from heliograph.notices.model import SubjectKind
from heliograph.storage import Database
from heliograph_notifier.campaigns.model import CampaignState
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.channels.matrix.live_messages import LiveMessages, Watch
from heliograph_notifier.channels.matrix.standing import GroupReading, Reading

_MARGIN = timedelta(seconds=5)  # between the database's clock and those of the services that write new jobs
_GROUP_SECONDS = 10.0  # jobs of which nobody is told change a group without news of it


class News:
    """Reads what changed since it was last asked; of what it is asked for the first time, everything."""

    def __init__(self, database: Database, lives: LiveMessages) -> None:
        self._database = database
        self._lives = lives
        self._sets = SetStore(database)
        self._campaigns = CampaignStore(database)
        self._since: datetime | None = None
        self._known: set[str] = set()
        self._counted: dict[str, tuple[int, float]] = {}  # campaign to its version then, and when that was

    def forget(self) -> None:
        """Have everything count as new."""
        self._known.clear()
        self._counted.clear()

    async def read(self, watches: Iterable[Watch]) -> dict[str, Reading | GroupReading | None]:
        """Return what may be new, by the watch's id; None where nothing more will ever be known."""
        of_job: dict[str, list[Watch]] = defaultdict(list)
        found: dict[str, Reading | GroupReading | None] = {}
        for watch in watches:
            if watch.subject.kind is SubjectKind.JOB:
                of_job[watch.subject.id].append(watch)
            else:
                found |= await self._of_group(watch)
        clock = await self._database.now()
        fresh = [job for job in of_job if job not in self._known]
        known = [job for job in of_job if job in self._known]
        gone = set(fresh)
        since = (self._since or clock) - _MARGIN
        for jobs, changed in ((fresh, None), (known, since)):
            async for reading in self._lives.readings(jobs, changed):
                gone.discard(reading.job)
                for watch in of_job[reading.job]:
                    found |= await self._of_series(watch, reading)
        found |= {watch.id: None for job in gone for watch in of_job[job]}
        self._known, self._since = set(of_job) - gone, clock
        return found

    async def _of_series(self, watch: Watch, reading: Reading) -> dict[str, Reading | GroupReading | None]:
        if reading.series == watch.series:
            return {watch.id: reading}
        try:
            return {watch.id: await self._lives.end_of(reading.job, watch.series)}
        except NotFoundError:
            return {watch.id: None}

    async def _of_group(self, watch: Watch) -> dict[str, Reading | GroupReading | None]:
        try:
            campaign = await self._campaigns.get(watch.subject.id)
        except NotFoundError:
            return {watch.id: None}
        if campaign.state is not CampaignState.OPEN:
            took = campaign.through - campaign.opened_at if campaign.through else None
            by_state = campaign.tally.by_state if campaign.tally else {}
            return {watch.id: GroupReading(by_state, is_over=True, took=took)}
        version, at = self._counted.get(watch.id, (-1, 0.0))
        if version == campaign.version and time.monotonic() - at < _GROUP_SECONDS:
            return {}
        outcome = await self._sets.since(campaign.owner, campaign.group, campaign.opened_at)
        self._counted[watch.id] = (campaign.version, time.monotonic())
        return {watch.id: GroupReading(outcome.tally.by_state)}
