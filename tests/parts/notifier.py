"""A notifier's parts with short waits, so that what takes minutes in service takes a moment in a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heliograph.backoff import Backoff
from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job
from heliograph.notices.due import DueStore
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.model import Delivery, DeliveryStatus
from heliograph.notices.store import Ledger
from heliograph.storage import Files
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.email import EmailChannel
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.planner import Planner
from heliograph_notifier.rules import Defaults
from heliograph_notifier.sender import Sender
from tests.parts.jobs import Stores, done
from tests.parts.smtp import MailServer

ADA = "ada@example.org"
PUBLIC_URL = "https://heliograph.example.org"
SHORT = Backoff(timedelta(milliseconds=50), timedelta(milliseconds=200))


def wish(recipient: str = ADA, **fields: Any) -> dict[str, Any]:
    """What the api writes for a recipient who is told of everything at once."""
    return {"channel": "email", "recipient": recipient, "threshold_seconds": 0, "interval_seconds": 0} | fields


def told(*wishes: dict[str, Any]) -> dict[str, Any]:
    return {"told": True, "wishes": list(wishes) or [wish()]}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Return once a condition on the database holds, which nobody announces."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - another process changes the database
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Desk:
    """One notifier's planner and sender."""

    stores: Stores
    ledger: Ledger
    planner: Planner
    sender: Sender

    @classmethod
    def of(
        cls, stores: Stores, server: MailServer, *, lease: timedelta = timedelta(seconds=30),
        most_age: timedelta = timedelta(hours=24), deadline: timedelta = timedelta(seconds=10),
        backoff: Backoff = SHORT, workers: int = 4,
        url: str | None = None,
    ) -> "Desk":  # fmt: skip
        ledger = Ledger(stores.database, lease=lease, most_age=most_age)
        composer = Composer("Heliograph <heliograph@example.org>", "help@example.org")
        email = EmailChannel(Server.of(url or server.url), composer, Files(stores.database, "artifacts"), connections=2)
        sender = Sender(
            ledger, stores.jobs, {email.name: email}, public_url=PUBLIC_URL, workers=workers, deadline=deadline,
            backoff=backoff, channel_backoff=SHORT,
        )  # fmt: skip
        return cls(stores, ledger, Planner(stores.database, ledger, Defaults(), sender.wake), sender)

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
            for channel in self.sender._channels.values():
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
    yield Desk.of(stores, server, **fields)
