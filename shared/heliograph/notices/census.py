"""How much of what people are to be told is still to be sent, and which ended jobs nobody was told of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from heliograph.jobs.states import OVER
from heliograph.jobs.store.indexes import JOBS
from heliograph.notices.indexes import CAMPAIGNS, DELIVERIES
from heliograph.notices.model import OPEN, Occasion, Subject, SubjectKind
from heliograph.storage import Database
from heliograph.storage.errors import translated

TOLD_WITHIN = timedelta(seconds=60)
_OF_ENDS = [Occasion.DONE.value, Occasion.FAILED.value, Occasion.CANCELLED.value, Occasion.DIGEST.value]
_IS_OPEN = {"status": {"$in": [status.value for status in OPEN]}}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of one channel is open: how many notices, and since when the first of those that are due is."""

    notices: int
    due_since: datetime | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted at a moment; ``untold`` are the jobs that ended a minute ago or more and are not settled.

    That is: no notifier has planned what people are to be told of them, or a notice of their end has been due for so
    long. What waits for a reader's quiet hours to end is not due yet, and so not untold. A group whose digest has been
    due for so long, or which no notifier has looked at for so long since it was to, counts as one.
    """

    at: datetime
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    untold: int = 0


class NoticeCensus:
    """Counts over all jobs and deliveries, from indexes that hold what is open alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deliveries = database.collection(DELIVERIES)

    async def take(self) -> Reading:
        """Count once."""
        now = await self._database.now()
        return Reading(now, await self.waiting(now), await self._untold(now - TOLD_WITHIN))

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

    async def _untold(self, before: datetime) -> int:
        """Count what ended before a time and is not settled; each job and each group once."""
        unsent = {**_IS_OPEN, "occasion": {"$in": _OF_ENDS}, "first_due_at": {"$lt": before}}
        # By when it ended: what waits for a contact directory is noted as due ever later.
        unplanned = {
            "notices_due.0": {"$exists": True}, "notices_due.at": {"$type": "date"}, "ended_at": {"$lt": before},
            "state": {"$in": [state.value for state in OVER]},
        }  # fmt: skip
        unlooked = {"look_at": {"$lt": before}}
        stages: list[dict[str, Any]] = [
            {"$match": unsent}, {"$project": {"_id": "$subject"}},
            {"$unionWith": {"coll": JOBS, "pipeline": [{"$match": unplanned}, _as(SubjectKind.JOB)]}},
            {"$unionWith": {"coll": CAMPAIGNS, "pipeline": [{"$match": unlooked}, _as(SubjectKind.GROUP)]}},
            {"$group": {"_id": "$_id"}}, {"$count": "untold"},
        ]  # fmt: skip
        with translated():
            rows = await self._deliveries.aggregate(stages).to_list(None)
        return rows[0]["untold"] if rows else 0


def _as(kind: SubjectKind) -> dict[str, Any]:
    """Return the stage that writes what is found as the subject of a notice."""
    return {"$project": {"_id": {"$concat": [str(Subject(kind, "")), "$_id"]}}}
