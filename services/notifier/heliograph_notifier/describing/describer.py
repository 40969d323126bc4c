"""The describer: reads what a delivery is about, and returns what to say of it."""

from collections.abc import Sequence

from heliograph.channels import Notice
from heliograph.errors import NotFoundError
from heliograph.jobs.model import Job
from heliograph.jobs.store import JobStore, SetStore
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.model import Delivery, SubjectKind
from heliograph.storage import Batcher, Database
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.describing.bulletin import describe_bulletin
from heliograph_notifier.describing.group import describe_group
from heliograph_notifier.describing.job import describe_job
from heliograph_notifier.links import Links


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

    async def describe(self, delivery: Delivery) -> Notice:
        """Return what to say; ``NotFoundError`` where what it is about is no longer kept."""
        match delivery.subject.kind:
            case SubjectKind.JOB:
                job = await self._reads.submit(delivery.subject.id, delivery.subject.id, len(delivery.subject.id))
                return describe_job(job, delivery, self._links, self._site)
            case SubjectKind.GROUP:
                return await self._describe_group(delivery)
            case SubjectKind.INCIDENT | SubjectKind.TEST:
                bulletin = await self._bulletins.get(delivery.subject.id)
                return describe_bulletin(bulletin, delivery, self._links, self._site)

    async def _read(self, jobs: Sequence[str]) -> list[Job | Exception]:
        found = await self._jobs.several_with_history(jobs)
        return [found.get(job) or NotFoundError(f"there is no job {job}") for job in jobs]

    async def _describe_group(self, delivery: Delivery) -> Notice:
        campaign = await self._campaigns.get(delivery.subject.id)
        whose = campaign.owner, campaign.group, campaign.opened_at
        tally = campaign.tally if campaign.tally is not None else (await self._sets.since(*whose)).tally
        failed = await self._sets.failed(*whose, campaign.through)
        return describe_group(campaign, tally, failed, delivery, self._links, self._site)
