"""Mutes: what somebody wants to hear no more of, for good or for a time. An unsubscription is one too."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from heliograph.storage import Database, Index
from heliograph.storage.errors import translated

MUTES = "mutes"
MOST_MUTES = 500  # of one person: all are read whenever something is planned for them
_INDEXES = (
    Index("person", (("person", 1),), {"sparse": True}),
    Index("recipient", (("recipient", 1), ("channel", 1)), {"sparse": True}),
    Index("over", (("until", 1),), {"expireAfterSeconds": 86_400}),  # a day later: whoever asks why not can see it
)


class MuteScope(StrEnum):
    """How much is muted."""

    ALL = "all"
    JOB = "job"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Mute:
    """Silence for a ``person``, over one ``channel`` or every one, or for a ``recipient`` on a channel, whosever it is.

    ``of`` is the job's id, or the group's name with ``owner`` as whose group it is. Without ``until`` it has no end.
    ``made_by`` says how it came about: "the api", "an unsubscribe link", "a room".
    """

    id: str
    scope: MuteScope
    made_by: str
    created_at: datetime
    of: str | None = None
    owner: str | None = None
    person: str | None = None
    channel: str | None = None
    recipient: str | None = None
    until: datetime | None = None

    def holds(
        self, *, person: str | None, channel: str, recipient: str, job: str | None, group: tuple[str, str] | None,
        at: datetime,
    ) -> bool:  # fmt: skip
        """Say whether it silences a notice at ``at`` about a job, or about a group (its owner and its name)."""
        is_theirs = (
            (self.person is None or self.person == person)
            and (self.channel is None or self.channel == channel)
            and (self.recipient is None or self.recipient == recipient)
        )
        is_nobodys = self.person is None and self.recipient is None  # which is not everybody's
        if not is_theirs or is_nobodys or (self.until is not None and at >= self.until):
            return False
        match self.scope:
            case MuteScope.ALL:
                return True
            case MuteScope.JOB:
                return job is not None and self.of == job
            case MuteScope.GROUP:
                return group is not None and group == (self.owner, self.of)

    def to_document(self) -> dict[str, Any]:
        """Write it as it is stored."""
        optional = {
            "of": self.of, "owner": self.owner, "person": self.person, "channel": self.channel,
            "recipient": self.recipient, "until": self.until,
        }  # fmt: skip
        known = {name: value for name, value in optional.items() if value is not None}
        return {
            "_id": self.id, "scope": self.scope.value, "made_by": self.made_by, "created_at": self.created_at, **known,
        }  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it."""
        names = ("of", "owner", "person", "channel", "recipient", "until")
        return cls(
            document["_id"], MuteScope(document["scope"]), document["made_by"], document["created_at"],
            **{name: document.get(name) for name in names},
        )  # fmt: skip


class MuteStore:
    """Keeps mutes; one that is over is removed by the database."""

    def __init__(self, database: Database) -> None:
        self._mutes = database.collection(MUTES)

    async def add(self, mute: Mute) -> None:
        """Store one; the same id again changes nothing."""
        document = mute.to_document()
        with translated():
            await self._mutes.update_one({"_id": mute.id}, {"$setOnInsert": document}, upsert=True)

    async def remove(self, identifier: str, *, person: str | None = None) -> bool:
        """Remove one, of this person where one is named; return whether it was there."""
        where = {"_id": identifier} | ({"person": person} if person is not None else {})
        with translated():
            return bool((await self._mutes.delete_one(where)).deleted_count)

    async def of_person(self, person: str) -> list[Mute]:
        """Return a person's own, the newest first."""
        with translated():
            found = await self._mutes.find({"person": person}).sort("_id", -1).to_list(None)
        return [Mute.from_document(document) for document in found]

    async def touching(self, people: Iterable[str], places: Iterable[tuple[str, str]]) -> list[Mute]:
        """Return every mute of these people, and of these channels and recipients."""
        over: dict[str, set[str]] = defaultdict(set)
        for channel, recipient in places:
            over[channel].add(recipient)
        either: list[dict[str, Any]] = [
            {"channel": channel, "recipient": {"$in": list(recipients)}} for channel, recipients in over.items()
        ]
        if wanted := list(dict.fromkeys(people)):
            either.append({"person": {"$in": wanted}})
        if not either:
            return []
        with translated():
            found = await self._mutes.find({"$or": either}).to_list(None)
        return [Mute.from_document(document) for document in found]


async def ensure_mute_indexes(database: Database) -> None:
    """Create the indexes over mutes where they are missing."""
    await database.ensure_indexes(MUTES, _INDEXES)
