"""A notifier's parts with short waits, so that what takes minutes in service takes a moment in a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from heliograph.backoff import Backoff
from heliograph.channels import Channel
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job
from heliograph.notices.due import DueStore
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.model import Delivery, DeliveryStatus, Wish
from heliograph.notices.store import Ledger
from heliograph.storage import Files
from heliograph_notifier.attempts import Matter
from heliograph_notifier.campaigns.rules import Terms
from heliograph_notifier.campaigns.store import CampaignStore, ensure_campaign_indexes
from heliograph_notifier.campaigns.teller import Teller
from heliograph_notifier.channels.connections import Connections, Server
from heliograph_notifier.channels.email import EmailChannel
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.describing.describer import Describer
from heliograph_notifier.disclosure import Disclosure
from heliograph_notifier.gathering import Gathering
from heliograph_notifier.links import Links
from heliograph_notifier.planner import Planner
from heliograph_notifier.second_look import SecondLook
from heliograph_notifier.sender import Pace, Sender
from tests.parts import waiting
from tests.parts.jobs import Stores, done
from tests.parts.smtp import MailServer

ADA = "ada@example.org"
PUBLIC_URL = "https://heliograph.example.org"
LINK_KEY = "d1a9ef02b3c4958677e0aa19bcd23f48d1a9ef02b3c49586"
SHORT = Backoff(timedelta(milliseconds=50), timedelta(milliseconds=200))
PROMPT = Terms(settle_seconds=0.0)


def wish(recipient: str = ADA, **fields: Any) -> dict[str, Any]:
    """What the api writes for a recipient who is told of everything at once."""
    return {"channel": "email", "recipient": recipient, "threshold_seconds": 0, "interval_seconds": 0} | fields


def told(*wishes: dict[str, Any]) -> dict[str, Any]:
    return {"told": True, "claimed": list(wishes[:1]) or [wish()], "named": list(wishes[1:])}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Return once a condition on the database holds, which nobody announces."""
    await waiting.until(condition, within_seconds=seconds)


@dataclass(frozen=True, slots=True)
class Desk:
    """One notifier's planner, sender and teller."""

    stores: Stores
    ledger: Ledger
    planner: Planner
    sender: Sender
    teller: Teller

    @classmethod
    def of(
        cls, stores: Stores, server: MailServer, *, lease: timedelta = timedelta(seconds=30),
        most_age: timedelta = timedelta(hours=24), deadline: timedelta = timedelta(seconds=10),
        backoff: Backoff = SHORT, channel_backoff: Backoff = SHORT, workers: int = 4, channels: Sequence[Channel] = (),
        disclosures: Mapping[str, Disclosure] | None = None, url: str | None = None, ca_file: Path | None = None,
        terms: Terms = PROMPT, incidents: Sequence[Wish] = (), elsewhere: Collection[str] = (),
    ) -> "Desk":  # fmt: skip
        """Return a desk; for channels ``elsewhere`` it plans and does not send."""
        ledger = Ledger(stores.database, lease=lease, most_age=most_age)
        composer = Composer("Heliograph <heliograph@example.org>", "help@example.org")
        connections = Connections(Server.of(url or server.url), 2, ca_file)
        email = EmailChannel(connections, composer, Files(stores.database, "artifacts"))
        describer = Describer(stores.database, Links(PUBLIC_URL, [LINK_KEY]))
        matter = Matter(describer, SecondLook(stores.database), disclosures or {"email": Disclosure.FULL})
        pace = Pace(workers, min(deadline, lease * 2 / 3), backoff, channel_backoff)
        sender = Sender(ledger, matter, {each.name: each for each in (email, *channels)}, pace)
        campaigns = CampaignStore(stores.database)
        gathering = Gathering(stores.database, {}, (), None)
        planner = Planner(
            stores.database,
            ledger,
            gathering,
            campaigns,
            sender.wake,
            incidents=incidents,
            channels={email.name, *(each.name for each in channels), *elsewhere},
        )
        return cls(stores, ledger, planner, sender, Teller(stores.database, campaigns, ledger, terms, sender.wake))

    async def finished_job(self, **fields: Any) -> Job:
        """Submit a job, claim it and finish it."""
        job = await self.stores.submit(**{"notify": told(), **fields})
        claimed = await self.stores.claim()
        assert claimed.id == job.id
        assert await self.stores.finish(claimed, done({"period": 11.0}))
        return job

    async def events(self, job: Job) -> list[JobEvent]:
        """Return the events of the changes that wait to be planned."""
        return [event for due in await DueStore(self.stores.database).read([job.id]) for event in due.events]

    async def plan(self, job: Job) -> list[Delivery]:
        """Plan what a job has to tell, and return all of its deliveries."""
        for event in await self.events(job):
            await self.planner.handle(event)
        return await self.ledger.of_job(job.id)

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send in the background."""
        task = asyncio.create_task(self.sender.run())
        try:
            yield
        finally:
            self.sender.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)
            for channel in self.sender.channels.values():
                await channel.close()

    async def has(self, job: Job, *statuses: DeliveryStatus) -> bool:
        """Whether a job's deliveries, in order, have these statuses."""
        return [delivery.status for delivery in await self.ledger.of_job(job.id)] == list(statuses)

    async def wait_for(self, job: Job, *statuses: DeliveryStatus) -> list[Delivery]:
        """Return a job's deliveries once they have these statuses."""
        await until(lambda: self.has(job, *statuses))
        return await self.ledger.of_job(job.id)


@asynccontextmanager
async def desk(stores: Stores, server: MailServer, **fields: Any) -> AsyncIterator[Desk]:
    await ensure_notice_indexes(stores.database)
    await ensure_campaign_indexes(stores.database)
    yield Desk.of(stores, server, **fields)
