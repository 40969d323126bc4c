"""Watches: people who are told of a whole queue's jobs, or of a group's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from heliograph.notices.model import Wish
from heliograph.storage import Database, Index
from heliograph.storage.errors import translated

WATCHES = "watches"
_INDEXES = (
    Index("watched", (("kind", 1), ("of", 1)), {}),
    Index("person", (("person", 1), ("_id", -1)), {}),
)


class WatchKind(StrEnum):
    """What can be watched."""

    QUEUE = "queue"  # a backend's jobs are those of the queue of its name
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Watch:
    """A person who is told of the jobs of a queue or a group.

    ``claimed`` are the wishes of the token with which it was made, ``asked`` those that it states itself, by channel.
    ``owner`` limits it to that owner's jobs: None for those who may see everybody's.
    """

    id: str
    person: str
    kind: WatchKind
    of: str
    owner: str | None
    created_at: datetime
    claimed: tuple[Wish, ...] = ()
    asked: tuple[Wish, ...] = ()
    time_zone: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Write it as it is stored."""
        return {
            "_id": self.id, "person": self.person, "kind": self.kind.value, "of": self.of, "owner": self.owner,
            "claimed": [wish.to_document() for wish in self.claimed],
            "asked": [wish.to_document() for wish in self.asked], "created_at": self.created_at,
            "time_zone": self.time_zone,
        }  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(
            document["_id"], document["person"], WatchKind(document["kind"]), document["of"], document.get("owner"),
            document["created_at"], tuple(Wish.from_document(each) for each in document["claimed"]),
            tuple(Wish.from_document(each) for each in document["asked"]), document.get("time_zone"),
        )  # fmt: skip


class WatchStore:
    """Keeps watches."""

    def __init__(self, database: Database) -> None:
        self._watches = database.collection(WATCHES)

    async def add(self, watch: Watch) -> None:
        """Store one."""
        with translated():
            await self._watches.insert_one(watch.to_document())

    async def remove(self, identifier: str, person: str | None) -> bool:
        """Remove one of a person's, or, where that is None, of anybody's; return whether it was there."""
        where = {"_id": identifier} if person is None else {"_id": identifier, "person": person}
        with translated():
            return bool((await self._watches.delete_one(where)).deleted_count)

    async def of_person(self, person: str) -> list[Watch]:
        """Return a person's, the newest first."""
        with translated():
            found = await self._watches.find({"person": person}).sort("_id", -1).to_list(None)
        return [Watch.from_document(document) for document in found]

    async def over(self, queues: Iterable[str], groups: Iterable[str]) -> list[Watch]:
        """Return all watches over these queues and groups, whosever jobs they are about."""
        either = [
            {"kind": kind.value, "of": {"$in": names}}
            for kind, names in ((WatchKind.QUEUE, list(queues)), (WatchKind.GROUP, list(groups)))
            if names
        ]
        if not either:
            return []
        with translated():
            found = await self._watches.find({"$or": either}).sort("_id", 1).to_list(None)
        return [Watch.from_document(document) for document in found]


async def ensure_watch_indexes(database: Database) -> None:
    """Create the indexes over watches where they are missing."""
    await database.ensure_indexes(WATCHES, _INDEXES)
