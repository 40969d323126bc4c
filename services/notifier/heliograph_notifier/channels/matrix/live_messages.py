"""The messages about work that is still going on, and what is read of that work to keep them up to date."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from heliograph.errors import NotFoundError
from heliograph.jobs.states import State
from heliograph.jobs.store.indexes import JOBS
from heliograph.notices.model import Subject
from heliograph.storage import Database, DuplicateError, Index
from heliograph.storage.errors import translated
from heliograph_notifier.channels.matrix.content import Text
from heliograph_notifier.channels.matrix.standing import Reading

LIVE_MESSAGES = "live_messages"
KEPT = timedelta(days=30)  # after the end: for notices that are sent again
CHUNK = 500
_INDEXES = (
    Index("open", (("over", 1),), {"partialFilterExpression": {"over": False}}),
    Index("kept", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
_READ = {
    "state": 1, "series": 1, "seq": 1, "attempt": 1, "updated_at": 1, "stage": 1, "progress": 1, "eta_seconds": 1,
    "message": 1, "error.message": 1, "started_at": 1, "ended_at": 1, "cancel_requested": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watch:
    """A live message as far as it has to be remembered while nothing changes."""

    id: str
    subject: Subject
    series: int
    room: str


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """The first message about a subject (in one series) in a room, on which the others hang as a thread.

    ``delivery`` is the key of the notice that it was. ``rest`` stands below the lines that change; ``shown`` is what
    these said last, in plain words, and ``edits`` counts how often they changed. Without ``with_details`` they say
    nothing that the backend said. Once ``over``, it changes no more.
    """

    subject: Subject
    series: int
    room: str
    event: str
    delivery: str
    product: str
    rest: Text
    shown: str
    with_details: bool = True
    edits: int = 0
    over: bool = False

    @property
    def id(self) -> str:
        """What there is one of."""
        return _identifier(self.subject, self.series, self.room)

    @property
    def watch(self) -> Watch:
        """What is remembered of it."""
        return Watch(self.id, self.subject, self.series, self.room)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(
            Subject.of(document["subject"]), document["series"], document["room"], document["event"],
            document["delivery"], document["product"], Text(*document["rest"]), document["shown"],
            document["with_details"], document["edits"], document["over"],
        )  # fmt: skip

    def to_document(self) -> dict[str, Any]:
        """Write it."""
        return {
            "_id": self.id, "subject": str(self.subject), "series": self.series, "room": self.room,
            "event": self.event, "delivery": self.delivery, "product": self.product,
            "rest": [self.rest.plain, self.rest.html], "shown": self.shown, "with_details": self.with_details,
            "edits": self.edits, "over": self.over,
        }  # fmt: skip


class LiveMessages:
    """Keeps live messages, and reads how their jobs stand."""

    def __init__(self, database: Database) -> None:
        self._messages = database.collection(LIVE_MESSAGES)
        self._jobs = database.collection(JOBS)

    async def find(self, subject: Subject, series: int, room: str) -> LiveMessage | None:
        """Return the message about a subject in a room, if there is one."""
        return await self.get(_identifier(subject, series, room))

    async def get(self, identifier: str) -> LiveMessage | None:
        """Return a message by its id, if there is one."""
        with translated():
            found = await self._messages.find_one({"_id": identifier})
        return LiveMessage.from_document(found) if found else None

    async def record(self, live: LiveMessage) -> None:
        """Store a message that was sent; one that is there stays."""
        try:
            with translated():
                await self._messages.insert_one(live.to_document())
        except DuplicateError:
            return
        if live.over:
            await self.close(live.id)

    async def open(self) -> list[Watch]:
        """Return the messages that still change."""
        fields = {"subject": 1, "series": 1, "room": 1}
        with translated():
            found = await self._messages.find({"over": False}, fields).to_list(None)
        return [Watch(each["_id"], Subject.of(each["subject"]), each["series"], each["room"]) for each in found]

    async def note_edit(self, live: LiveMessage, shown: str) -> None:
        """Store what a message shows now."""
        with translated():
            await self._messages.update_one({"_id": live.id, "edits": live.edits}, {
                "$set": {"shown": shown}, "$inc": {"edits": 1},
            })  # fmt: skip

    async def close(self, identifier: str) -> None:
        """Let a message be as it is from now on, and forget it after a while."""
        until = {"$add": ["$$NOW", int(KEPT / timedelta(milliseconds=1))]}
        with translated():
            await self._messages.update_one({"_id": identifier}, [{"$set": {"over": True, "expires_at": until}}])

    async def readings(self, jobs: Sequence[str], since: datetime | None = None) -> AsyncIterator[Reading]:
        """Yield how those of these jobs stand that changed since then, or all; those that are gone are left out."""
        changed = {"updated_at": {"$gte": since}} if since is not None else {}
        for start in range(0, len(jobs), CHUNK):
            with translated():
                chunk = {"_id": {"$in": list(jobs[start : start + CHUNK])}, **changed}
                found = await self._jobs.find(chunk, _READ).to_list(None)
            for document in found:
                yield _reading(document)

    async def end_of(self, job: str, series: int) -> Reading:
        """Return how a series ended that the job has gone beyond.

        Raises
        ------
        NotFoundError
            The history no longer reaches back so far, or the job is gone.
        """
        with translated():
            document = await self._jobs.find_one({"_id": job}, {"history": 1})
        changes = [each for each in (document or {}).get("history", ()) if each["series"] == series]
        if not changes:
            raise NotFoundError(f"how job {job} ended is no longer known")
        last = changes[-1]
        started = next((each["at"] for each in changes if each["state"] == State.RUNNING), None)
        return Reading(
            job, State(last["state"]), series, last["seq"], 0, last["at"], error=last.get("message"),
            started_at=started, ended_at=last["at"],
        )  # fmt: skip


def _identifier(subject: Subject, series: int, room: str) -> str:
    return f"{subject}|{series}|{room}"


def _reading(document: Mapping[str, Any]) -> Reading:
    optional = ("stage", "progress", "eta_seconds", "message", "started_at", "ended_at")
    return Reading(
        document["_id"], State(document["state"]), document["series"], document["seq"], document["attempt"],
        document["updated_at"], error=document.get("error", {}).get("message"),
        is_stopping=document["cancel_requested"], **{name: document.get(name) for name in optional},
    )  # fmt: skip


async def ensure_live_indexes(database: Database) -> None:
    """Create the indexes over live messages where they are missing."""
    await database.ensure_indexes(LIVE_MESSAGES, _INDEXES)
