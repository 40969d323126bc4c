"""The describer: reads what a delivery is about, and returns what to say of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heliograph.channels import Notice
from heliograph.errors import NotFoundError
from heliograph.jobs.model import Job
from heliograph.jobs.states import OVER
from heliograph.jobs.store import JobStore, SetStore
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.model import Delivery, Occasion, SubjectKind
from heliograph.storage import Batcher, Database
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.describing.bulletin import describe_bulletin
from heliograph_notifier.describing.group import describe_group, describe_only
from heliograph_notifier.describing.job import describe_job
from heliograph_notifier.links import Links

FRESH_SECONDS = 1.0  # what was read longer ago may not be so any more


@dataclass(frozen=True, slots=True)
class Read:
    """Jobs that were read at one time, by id; ``at`` is when by the monotonic clock."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    at: float = 0.0

    def job(self, identifier: str) -> Job | None:
        """Return a job where it was read, and that just now."""
        return self.jobs.get(identifier) if time.monotonic() - self.at < FRESH_SECONDS else None


class Describer:
    """Describes deliveries of every kind."""

    def __init__(self, database: Database, links: Links, site: str = "Heliograph") -> None:
        self._jobs = JobStore(database)
        self._reads: Batcher[str, Job] = Batcher(self._read)  # what several senders ask for at once is one read
        self._bulletins = BulletinStore(database)
        self._campaigns = CampaignStore(database)
        self._sets = SetStore(database)
        self._links = links
        self._site = site

    async def read(self, deliveries: Sequence[Delivery]) -> Read:
        """Read the jobs that these deliveries are about at once."""
        jobs = {delivery.job for delivery in deliveries if delivery.job is not None}
        at = time.monotonic()
        return Read(await self._jobs.several_with_history(jobs), at) if jobs else Read()

    async def describe(self, delivery: Delivery, read: Read | None = None) -> Notice:
        """Return what to say; ``NotFoundError`` where what it is about is no longer kept.

        What was ``read`` for it just now is not read again.
        """
        match delivery.subject.kind:
            case SubjectKind.JOB:
                job = await self._job(delivery.subject.id, read)
                return describe_job(job, delivery, self._links, self._site)
            case SubjectKind.GROUP:
                return await self._describe_group(delivery)
            case SubjectKind.INCIDENT | SubjectKind.TEST:
                bulletin = await self._bulletins.get(delivery.subject.id)
                return describe_bulletin(bulletin, delivery, self._links, self._site)

    async def _job(self, identifier: str, read: Read | None) -> Job:
        known = read.job(identifier) if read else None
        return known or await self._reads.submit(identifier, identifier, len(identifier))

    async def _read(self, jobs: Sequence[str]) -> list[Job | Exception]:
        found = await self._jobs.several_with_history(jobs)
        return [found.get(job) or NotFoundError(f"there is no job {job}") for job in jobs]

    async def _describe_group(self, delivery: Delivery) -> Notice:
        campaign = await self._campaigns.get(delivery.subject.id)
        whose = campaign.owner, campaign.group, campaign.opened_at
        tally = campaign.tally if campaign.tally is not None else (await self._sets.since(*whose)).tally
        if delivery.occasion is Occasion.DIGEST and tally.total == 1:
            only = await self._sets.only(*whose, campaign.through)
            job = (await self._jobs.several_with_history([only])).get(only) if only else None
            if job is not None and job.state in OVER:  # and not begun anew meanwhile
                return describe_only(campaign, job, delivery, self._links, self._site)
        failed = await self._sets.failed(*whose, campaign.through)
        return describe_group(campaign, tally, failed, delivery, self._links, self._site)
