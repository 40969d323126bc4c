"""Jobs with which nothing happens although it should: each cause is one question to one index of open work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from heliograph.jobs.states import HELD
from heliograph.jobs.store.census import WAITING, WAITING_SINCE
from heliograph.jobs.store.expressions import Expression
from heliograph.jobs.store.given_up import MOST_COUNTED
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database
from heliograph.storage.errors import translated


class Cause(StrEnum):
    """Why a job is stuck."""

    HELD = "held"  # without a lease, and its holder says nothing
    NOTICES = "notices"  # no notifier plans what people are to be told
    OUTBOX = "outbox"  # no relay gets its events to the bus
    UNCLAIMED = "unclaimed"  # it waits in a queue that stands still


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of stuck jobs, which runs from the highest to the lowest."""

    since: datetime
    job: str
    cause: Cause

    @property
    def rank(self) -> tuple[datetime, str, str]:
        """What orders the list."""
        return self.since, self.job, self.cause.value


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A stuck job. One that is stuck for two causes is two of these."""

    place: Place
    queue: str
    backend: str | None
    holder: str | None


class StuckStore:
    """Lists and counts stuck jobs."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def page(
        self, since_before: Mapping[Cause, datetime], queues: Sequence[str], limit: int, beyond: Place | None = None
    ) -> list[StuckJob]:
        """Return at most ``limit``, the last that got stuck first.

        Parameters
        ----------
        since_before
            The causes to look for, and how long a job must have been stuck to count.
        queues
            Those that stand still.
        limit
            How many.
        beyond
            The last one seen.
        """
        places: list[Place] = []
        for cause, before in since_before.items():
            places += await self._places(cause, before, queues, limit, beyond)
        places = sorted(places, key=lambda place: place.rank, reverse=True)[:limit]
        fields = {"queue": 1, "backend": 1, "lease.holder": 1}
        with translated():
            found = self._jobs.find({"_id": {"$in": [place.job for place in places]}}, fields)
            jobs = {document["_id"]: document async for document in found}
        return [_stuck(place, jobs[place.job]) for place in places if place.job in jobs]

    async def count(self, since_before: Mapping[Cause, datetime], queues: Sequence[str]) -> int:
        """Return how many there are, at most ``MOST_COUNTED`` for each cause."""
        number = 0
        with translated():
            for cause, before in since_before.items():
                stages = [*_stages(cause, before, queues), {"$limit": MOST_COUNTED}, {"$count": "jobs"}]
                async for row in self._jobs.aggregate(stages, hint=_INDEX[cause]):
                    number += row["jobs"]
        return number

    async def causes_of(self, job: str, since_before: Mapping[Cause, datetime], queues: Sequence[str]) -> set[Cause]:
        """Return for which of these causes a job is stuck."""
        with translated():
            return {
                cause
                for cause, before in since_before.items()
                if await self._jobs.aggregate([{"$match": {"_id": job}}, *_stages(cause, before, queues)]).to_list(1)
            }

    async def _places(
        self, cause: Cause, before: datetime, queues: Sequence[str], limit: int, beyond: Place | None
    ) -> list[Place]:
        stages = _stages(cause, before, queues)
        if beyond is not None:
            # Of the causes of one job, those that come later in the list are still to be seen.
            here = "$lte" if cause.value < beyond.cause.value else "$lt"
            later = [{"since": {"$lt": beyond.since}}, {"since": beyond.since, "_id": {here: beyond.job}}]
            stages.append({"$match": {"$or": later}})
        stages += [{"$sort": {"since": -1, "_id": -1}}, {"$limit": limit}]
        with translated():
            found = self._jobs.aggregate(stages, hint=_INDEX[cause])
            return [Place(row["since"], row["_id"], cause) async for row in found]


_INDEX = {Cause.HELD: "lease", Cause.NOTICES: "notices", Cause.OUTBOX: "outbox", Cause.UNCLAIMED: "owners"}


def _stages(cause: Cause, before: datetime, queues: Sequence[str]) -> list[dict[str, Any]]:
    """Return the stages that find what is stuck for a cause, and since when."""
    where, since = _question(cause, before, queues)
    return [{"$match": where}, {"$project": {"since": since}}, {"$match": {"since": {"$lt": before}}}]


def _question(cause: Cause, before: datetime, queues: Sequence[str]) -> tuple[dict[str, Any], Expression]:
    if cause is Cause.HELD:
        where = {"lease.until": {"$type": "null"}, "state": {"$in": list(HELD)}, "updated_at": {"$lt": before}}
        return where, "$updated_at"
    if cause is Cause.OUTBOX:
        return {"outbox.0": {"$exists": True}, "outbox.at": {"$lt": before}}, {"$min": "$outbox.at"}
    if cause is Cause.NOTICES:
        return {"notices_due.0": {"$exists": True}, "notices_due.at": {"$lt": before}}, {"$min": "$notices_due.at"}
    return {"queue": {"$in": list(queues)}, **WAITING, "updated_at": {"$lt": before}}, WAITING_SINCE


def _stuck(place: Place, document: Mapping[str, Any]) -> StuckJob:
    return StuckJob(place, document["queue"], document.get("backend"), document.get("lease", {}).get("holder"))
