"""How much of what people are to be told is still to be sent, and which ended jobs nobody was told of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from heliograph.jobs.states import OVER
from heliograph.jobs.store.indexes import JOBS
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import OPEN, Occasion
from heliograph.storage import Database
from heliograph.storage.errors import translated

PLANNED_WITHIN = timedelta(seconds=10)  # an event takes 2 s at most, a sweep another one
SENT_WITHIN = timedelta(seconds=60)
_OF_ENDS = [Occasion.DONE.value, Occasion.FAILED.value, Occasion.CANCELLED.value]
_IS_OPEN = {"status": {"$in": [status.value for status in OPEN]}}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of one channel is open: how many notices, and since when the first of those that are due is."""

    notices: int
    due_since: datetime | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted at a moment; ``untold`` are the jobs that ended some time ago and of which nothing is settled.

    What waits for a reader's quiet hours to end is not due yet, and so not untold.
    """

    at: datetime
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    untold: int = 0


class NoticeCensus:
    """Counts over all jobs and deliveries, from indexes that hold what is open alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs = database.collection(JOBS)
        self._deliveries = database.collection(DELIVERIES)

    async def take(self) -> Reading:
        """Count once."""
        now = await self._database.now()
        return Reading(now, await self.waiting(now), await self._unplanned(now) + await self._unsent(now))

    async def waiting(self, now: datetime) -> dict[str, Waiting]:
        """Return what is open, by channel."""
        due = {"$cond": [{"$lte": ["$first_due_at", now]}, "$first_due_at", None]}
        stages: list[dict[str, Any]] = [
            {"$match": _IS_OPEN},
            {"$group": {"_id": "$channel", "notices": {"$sum": 1}, "since": {"$min": due}}},
        ]
        with translated():
            found = self._deliveries.aggregate(stages)
            return {row["_id"]: Waiting(row["notices"], row["since"]) async for row in found}

    async def _unplanned(self, now: datetime) -> int:
        """Count ended jobs whose changes no notifier has planned yet."""
        where = {
            "notices_due.0": {"$exists": True}, "notices_due.at": {"$lt": now - PLANNED_WITHIN},
            "state": {"$in": [state.value for state in OVER]},
        }  # fmt: skip
        with translated():
            return await self._jobs.count_documents(where)

    async def _unsent(self, now: datetime) -> int:
        """Count jobs of whose end a notice is due and was not sent, given up or decided against."""
        late = {**_IS_OPEN, "occasion": {"$in": _OF_ENDS}, "first_due_at": {"$lt": now - SENT_WITHIN}}
        stages: list[dict[str, Any]] = [{"$match": late}, {"$group": {"_id": "$subject"}}, {"$count": "jobs"}]
        with translated():
            rows = await self._deliveries.aggregate(stages).to_list(None)
        return rows[0]["jobs"] if rows else 0
