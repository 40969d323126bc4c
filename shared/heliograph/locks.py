"""Named locks in the database: one holder at a time, by the server's clock, freed by time alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from heliograph.storage import Database, DuplicateError
from heliograph.storage.errors import translated

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Locks:
    """Takes and renews locks for one process, which calls itself ``holder``."""

    def __init__(self, database: Database, holder: str) -> None:
        self._locks = database.collection("locks")
        self._holder = holder

    async def take(self, name: str, length: timedelta) -> bool:
        """Take or renew a lock for ``length`` from now; return whether it is ours."""
        ours_or_free = {"$or": [{"$eq": ["$holder", {"$literal": self._holder}]}, {"$lt": ["$until", "$$NOW"]}]}
        return await self._take_or_make(name, length, ours_or_free)

    async def take_turn(self, name: str, period: timedelta) -> bool:
        """Return whether this is ours to do now: true once in ``period`` for all processes together."""
        return await self._take_or_make(name, period, {"$lt": ["$until", "$$NOW"]})

    async def release(self, name: str) -> None:
        """Give a lock back early, where it is ours."""
        with translated():
            await self._locks.update_one({"_id": name, "holder": self._holder}, {"$set": {"until": _LONG_AGO}})

    async def _take_or_make(self, name: str, length: timedelta, condition: dict[str, Any]) -> bool:
        if await self._take(name, length, condition):
            return True
        try:
            with translated():
                await self._locks.insert_one({"_id": name, "holder": None, "until": _LONG_AGO})
        except DuplicateError:
            return False  # it exists, and somebody holds it
        return await self._take(name, length, condition)

    async def _take(self, name: str, length: timedelta, condition: dict[str, Any]) -> bool:
        until = {"$add": ["$$NOW", int(length / timedelta(milliseconds=1))]}
        update: list[dict[str, Any]] = [{"$set": {"holder": {"$literal": self._holder}, "until": until}}]
        with translated():
            result = await self._locks.update_one({"_id": name, "$expr": condition}, update)
        return bool(result.matched_count)
