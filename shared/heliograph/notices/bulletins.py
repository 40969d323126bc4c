"""Bulletins: what somebody has told without a job's change: a report to the operators, a test of the channels.

The api stores one; a notifier plans its deliveries and marks it planned, so that neither a crash nor two notifiers
lose or double it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from heliograph.errors import NotFoundError
from heliograph.notices.model import Subject, SubjectKind, Wish
from heliograph.storage import Database, Index
from heliograph.storage.errors import translated

BULLETINS = "bulletins"
UNPLANNED_AT_ONCE = 50
_INDEXES = (
    Index("unplanned", (("unplanned", 1), ("_id", 1)), {"partialFilterExpression": {"unplanned": True}}),
    Index("kind", (("kind", 1), ("_id", -1)), {}),
    Index("by", (("by", 1), ("kind", 1), ("_id", -1)), {}),
    Index("over", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)


@dataclass(frozen=True, slots=True)
class Bulletin:
    """A report of an incident, or a test; ``by`` is who made it.

    ``job`` is what a report is about, where it is about one, and ``text`` what it says. A test goes to the ``wishes``'
    recipients; a report to those whom the operator's settings name.
    """

    id: str
    kind: SubjectKind
    by: str
    created_at: datetime
    text: str = ""
    title: str | None = None
    job: str | None = None
    occurred_at: datetime | None = None
    wishes: tuple[Wish, ...] = ()
    time_zone: str | None = None
    planned_at: datetime | None = None

    @property
    def subject(self) -> Subject:
        """What its notices are about."""
        return Subject(self.kind, self.id)

    def to_document(self) -> dict[str, Any]:
        """Write it as it is stored."""
        return {
            "_id": self.id, "kind": self.kind.value, "by": self.by, "created_at": self.created_at, "text": self.text,
            "title": self.title, "job": self.job, "occurred_at": self.occurred_at,
            "wishes": [wish.to_document() for wish in self.wishes], "time_zone": self.time_zone,
            "planned_at": self.planned_at,
        }  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(
            document["_id"], SubjectKind(document["kind"]), document["by"], document["created_at"], document["text"],
            document.get("title"), document.get("job"), document.get("occurred_at"),
            tuple(Wish.from_document(each) for each in document["wishes"]), document.get("time_zone"),
            document.get("planned_at"),
        )  # fmt: skip


class BulletinStore:
    """Keeps bulletins."""

    def __init__(self, database: Database) -> None:
        self._bulletins = database.collection(BULLETINS)

    async def add(self, bulletin: Bulletin, *, expires_at: datetime | None = None) -> None:
        """Store one; it is removed at ``expires_at``."""
        document = bulletin.to_document() | {"unplanned": True} | ({"expires_at": expires_at} if expires_at else {})
        with translated():
            await self._bulletins.insert_one(document)

    async def get(self, identifier: str) -> Bulletin:
        """Return one; ``NotFoundError`` where there is none."""
        with translated():
            found = await self._bulletins.find_one({"_id": identifier})
        if found is None:
            raise NotFoundError(f"there is no report {identifier}")
        return Bulletin.from_document(found)

    async def page(
        self, kind: SubjectKind, *, limit: int, cursor: str | None = None, by: Collection[str] | None = None
    ) -> tuple[list[Bulletin], str | None]:
        """Return a page, the newest first, and the cursor of the next where there is one; ``by`` is who made them."""
        where = _where(kind, by) | ({"_id": {"$lt": cursor}} if cursor else {})
        with translated():
            found = await self._bulletins.find(where).sort("_id", -1).limit(limit + 1).to_list(limit + 1)
        page = [Bulletin.from_document(document) for document in found[:limit]]
        return page, page[-1].id if len(found) > limit else None

    async def ending_in(self, end: str, kind: SubjectKind, by: Collection[str] | None = None) -> list[Bulletin]:
        """Return those whose ids end so, the newest first; at most two: a second one says that it is ambiguous."""
        where = _where(kind, by) | {"_id": {"$regex": f"{re.escape(end)}$"}}
        with translated():
            found = await self._bulletins.find(where).sort("_id", -1).limit(2).to_list(2)
        return [Bulletin.from_document(document) for document in found]

    async def unplanned(self) -> list[Bulletin]:
        """Return those of which nobody is told yet, the oldest first."""
        with translated():
            found = await self._bulletins.find({"unplanned": True}).sort("_id", 1).to_list(UNPLANNED_AT_ONCE)
        return [Bulletin.from_document(document) for document in found]

    async def settle(self, identifier: str) -> None:
        """Mark one as planned."""
        with translated():
            await self._bulletins.update_one({"_id": identifier}, [
                {"$set": {"planned_at": "$$NOW"}}, {"$unset": "unplanned"},
            ])  # fmt: skip


def _where(kind: SubjectKind, by: Collection[str] | None) -> dict[str, Any]:
    return {"kind": kind.value} | ({} if by is None else {"by": {"$in": list(by)}})


async def ensure_bulletin_indexes(database: Database) -> None:
    """Create the indexes over bulletins where they are missing."""
    await database.ensure_indexes(BULLETINS, _INDEXES)
