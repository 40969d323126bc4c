"""Intervals: the least time between two notices of the same request to the same recipient."""

from datetime import datetime, timedelta

from heliograph.notices.indexes import INTERVALS
from heliograph.storage import Database, DuplicateError
from heliograph.storage.errors import translated

KEPT = 20  # grants of the same request to the same recipient: those of events that are planned late look back


class IntervalStore:
    """Keeps, for each request, recipient and channel, which deliveries were granted and when their events were."""

    def __init__(self, database: Database) -> None:
        self._intervals = database.collection(INTERVALS)

    async def take(self, what: str, at: datetime, length: timedelta, by: str) -> bool:
        """Return whether the notice ``by`` of an event at ``at`` may go out; what was granted is granted again.

        It may not where another was granted for an event no further than ``length`` from this one, before or after it:
        events are not planned in their order. One conditional upsert: where it does not match, the insert that follows
        from it fails on the id.
        """
        near = {"$elemMatch": {"at": {"$gte": at - length, "$lte": at + length}}}
        where = {"_id": what, "$or": [{"granted": {"$not": near}}, {"granted.by": by}]}
        others = {"$filter": {"input": {"$ifNull": ["$granted", []]}, "cond": {"$ne": ["$$this.by", {"$literal": by}]}}}
        granted = {"$concatArrays": [others, [{"at": at, "by": {"$literal": by}}]]}
        update = [{"$set": {"granted": {"$slice": [granted, -KEPT]}, "over_at": {"$max": ["$over_at", at + length]}}}]
        for _ in range(2):  # two first askers insert at once; the one that lost looks again
            try:
                with translated():
                    await self._intervals.update_one(where, update, upsert=True)
            except DuplicateError:
                continue
            return True
        return False
