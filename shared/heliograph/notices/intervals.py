"""Intervals: the least time between two notices of the same request to the same recipient."""

from datetime import datetime, timedelta

from heliograph.notices.indexes import INTERVALS
from heliograph.storage import Database, DuplicateError
from heliograph.storage.errors import translated


class IntervalStore:
    """Keeps, for each request, recipient and channel, when the last notice was granted and to which delivery."""

    def __init__(self, database: Database) -> None:
        self._intervals = database.collection(INTERVALS)

    async def take(self, what: str, at: datetime, length: timedelta, by: str) -> bool:
        """Return whether the notice ``by`` of an event at ``at`` may go out; asking again gives the same answer.

        One conditional upsert: it matches where the last notice is old enough or was this one, and where it does not
        match, the insert that follows from it fails on the id.
        """
        where = {"_id": what, "$or": [{"at": {"$lte": at - length}}, {"by": by}]}
        update = {"$set": {"at": at, "by": by, "over_at": at + length}}
        for _ in range(2):  # two first askers insert at once; the one that lost looks again
            try:
                with translated():
                    await self._intervals.update_one(where, update, upsert=True)
            except DuplicateError:
                continue
            return True
        return False
