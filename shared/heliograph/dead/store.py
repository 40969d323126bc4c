"""Dead letters in MongoDB: kept by the id of their event, so that an event that dies again is the same letter."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from heliograph.bus.port import DeadEvent
from heliograph.dead.model import DeadLetter, LetterState
from heliograph.events.model import JobEvent
from heliograph.storage import Database, Index
from heliograph.storage.errors import translated

LETTERS = "dead_letters"
MOST_REASON = 500  # characters of why
KEPT = timedelta(days=90)  # a letter that was replayed

_INDEXES = (
    Index("page", (("state", 1), ("last_at", -1), ("_id", -1)), {}),
    Index("over", (("replayed_at", 1),), {"expireAfterSeconds": int(KEPT.total_seconds())}),
)


async def ensure_dead_indexes(database: Database) -> None:
    """Create the indexes over dead letters where they are missing."""
    await database.ensure_indexes(LETTERS, _INDEXES)


class LetterStore:
    """Keeps dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._letters = database.collection(LETTERS)

    async def keep(self, dead: DeadEvent) -> None:
        """Keep an event that was laid aside; returns once that is journaled.

        One that died before is open again and counted. An event that the bus hands over twice, because its answer was
        lost, counts twice.
        """
        event, at = dead.event, dead.at or await self._database.now()
        fields = {
            "event": event.to_json().decode(), "job": event.data.id, "last_at": at, "state": LetterState.OPEN.value,
            "reason": None if dead.reason is None else _storable(dead.reason),
        }  # fmt: skip
        update = {
            "$set": fields, "$min": {"first_at": at}, "$inc": {"count": 1},
            "$unset": {"replayed_at": True, "replayed_by": True},
        }  # fmt: skip
        with translated():
            await self._letters.update_one({"_id": event.id}, update, upsert=True)

    async def find(self, identifier: str) -> DeadLetter | None:
        """Return the letter of an event; None where it never died, or was replayed long ago."""
        with translated():
            found = await self._letters.find_one({"_id": identifier})
        return _letter(found) if found else None

    async def replayed(self, letter: DeadLetter, by: str) -> None:
        """Note that a letter was published again; nothing is noted where it has died once more meanwhile."""
        update = {
            "$set": {"state": LetterState.REPLAYED.value, "replayed_by": by}, "$currentDate": {"replayed_at": True},
        }  # fmt: skip
        with translated():
            await self._letters.update_one({"_id": letter.event.id, "count": letter.count}, update)

    async def page(
        self, state: LetterState, limit: int, beyond: tuple[datetime, str] | None = None
    ) -> list[DeadLetter]:  # fmt: skip
        """Return at most ``limit``, the last that died first, after the one of this time and id."""
        where: dict[str, Any] = {"state": state.value}
        if beyond is not None:
            at, identifier = beyond
            where["last_at"] = {"$lte": at}
            where["$or"] = [{"last_at": {"$lt": at}}, {"_id": {"$lt": identifier}}]
        with translated():
            found = self._letters.find(where, hint="page").sort([("last_at", -1), ("_id", -1)]).limit(limit)
            return [_letter(document) async for document in found]

    async def count(self, most: int) -> int:
        """Return how many are open, at most ``most``."""
        with translated():
            number: int = await self._letters.count_documents({"state": LetterState.OPEN.value}, limit=most)
        return number


def _letter(document: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        JobEvent.model_validate_json(document["event"]), document["count"], document["first_at"], document["last_at"],
        document["reason"], document.get("replayed_at"), document.get("replayed_by"),
    )  # fmt: skip


def _storable(reason: str) -> str:
    """Return a reason as the database takes it: it may quote anything."""
    return reason.encode("utf-8", "replace").decode()[:MOST_REASON]
