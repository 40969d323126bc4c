"""The Matrix channel of one notifier, and a room's messages as a client shows them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nio import MegolmEvent, RoomMessageText

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.model import Job
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import FollowerStore, JobStore, OutboxStore, TreeStore
from heliograph.jobs.store.claims import Progress
from heliograph.notices.linked import ensure_linked_indexes
from heliograph.notices.mutes import ensure_mute_indexes
from heliograph.storage import Database
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.channel import MatrixChannel
from heliograph_notifier.channels.matrix.pace import Pace
from tests.parts.jobs import Stores, lease_of
from tests.parts.matrix import Person
from tests.parts.notifier import Desk, told, wish
from tests.parts.smtp import MailServer
from tests.parts.waiting import until

QUICK = Pace(look_seconds=0.1, edit_seconds=0.2, answer_seconds=0.02)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that begins something: what it shows now, what it showed before, and what hangs on it as a thread."""

    event: str
    body: str
    html: str
    earlier: list[str]
    thread: list[str]


@dataclass(slots=True)
class _Message:
    event: str
    contents: list[dict[str, Any]]
    thread: list[str] = field(default_factory=list)


def shown(person: Person, sender: str) -> list[Shown]:
    """Return what a client shows of what somebody said; fails where something cannot be decrypted."""
    messages: dict[str, _Message] = {}
    for event in person.seen.values():
        assert not (isinstance(event, MegolmEvent) and event.sender == sender), "a message cannot be read"
        if not isinstance(event, RoomMessageText) or event.sender != sender:
            continue
        content = event.source["content"]
        relation = content.get("m.relates_to", {})
        match relation.get("rel_type"):
            case "m.replace":
                messages[relation["event_id"]].contents.append(content["m.new_content"])
            case "m.thread":
                messages[relation["event_id"]].thread.append(event.body)
            case _:
                messages[event.event_id] = _Message(event.event_id, [content])
    return [
        Shown(
            each.event, each.contents[-1]["body"], each.contents[-1]["formatted_body"],
            [content["body"] for content in each.contents[:-1]], each.thread,
        )
        for each in messages.values()
    ]  # fmt: skip


@asynccontextmanager
async def channel(database: Database, account: Account, pace: Pace = QUICK) -> AsyncIterator[MatrixChannel]:
    """Run a channel over an account, which has it soon."""
    await ensure_linked_indexes(database)
    await ensure_mute_indexes(database)
    async with MemoryBus() as bus:
        followers = FollowerStore(database)
        relay = Relay(OutboxStore(database, public_url="https://heliograph.example.org"), followers, bus)
        jobs = JobService(JobStore(database), followers, TreeStore(database), relay, bus)
        matrix = MatrixChannel(account, database, jobs, relay, pace)
        task = asyncio.create_task(matrix.run())
        try:
            await until(lambda: matrix.is_open or task.done())
            if task.done():
                await task
            yield matrix
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass(frozen=True, slots=True)
class Office:
    """A notifier with a Matrix channel that plans and sends, and a room's jobs."""

    desk: Desk
    stores: Stores
    matrix: MatrixChannel

    @classmethod
    def of(cls, stores: Stores, server: MailServer, matrix: MatrixChannel, **fields: Any) -> "Office":
        return cls(Desk.of(stores, server, channels=[matrix], **fields), stores, matrix)

    async def submit(self, room: str, **fields: Any) -> Job:
        """Submit a job of which a room is told."""
        return await self.stores.submit(**{"name": "sunspots", "notify": told(room_wish(room))} | fields)

    async def plan(self, *jobs: Job) -> None:
        for job in jobs:
            await self.desk.plan(job)

    async def report(self, job: Job, fraction: float, **fields: Any) -> None:
        """Report where a claimed job stands."""
        assert await self.stores.claims.report(job.id, lease_of(job).token, Progress(fraction, **fields))


def room_wish(room: str, **fields: Any) -> dict[str, Any]:
    return wish(room, channel="matrix", **fields)
