"""Lists of jobs, page by page.

A page is found by key, not by number: its cursor names the last job seen, so that jobs that come or go meanwhile
neither repeat nor hide others.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from heliograph.errors import InvalidInputError
from heliograph.identity.identity import Scope
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store.documents import to_job
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.jobs import VIEW
from heliograph.storage import Database
from heliograph.storage.errors import translated

_RECENT = 10_000  # ids, read from an index in some milliseconds


@dataclass(frozen=True, slots=True)
class Criteria:
    """What to list; None and empty mean any. Times are inclusive at their lower and exclusive at their upper end."""

    owner: str | None = None
    states: Sequence[State] = field(default=())
    backend: str | None = None
    queue: str | None = None
    group: str | None = None
    name: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    parent: str | None = None
    ancestor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs, and the cursor of the next where there is one."""

    jobs: tuple[Job, ...]
    next: str | None


class Listing:
    """Lists jobs: the newest first, or, with ``updated_after``, what changed since, in the order of the changes."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def page(self, criteria: Criteria, *, limit: int, cursor: str | None = None) -> Page:
        """Return a page of at most ``limit`` jobs; ``InvalidInputError`` where the cursor is not one of ours."""
        conditions: list[dict[str, Any]] = [_where(criteria)]
        by_update = criteria.updated_after is not None
        if cursor is not None:
            conditions.append(_beyond(cursor, by_update=by_update))
        order = [("updated_at", 1), ("_id", 1)] if by_update else [("_id", -1)]
        with translated():
            found = await self._jobs.find({"$and": conditions}, VIEW).sort(order).limit(limit + 1).to_list(limit + 1)
        jobs = tuple(to_job(document) for document in found[:limit])
        more = len(found) > limit
        return Page(jobs, _cursor(jobs[-1], by_update=by_update) if more else None)

    async def ending_in(self, end: str, within: Scope) -> list[str]:
        """Return the ids among the latest 10,000 jobs ``within`` that end so, the newest first; at most two.

        A second one says that the end is ambiguous.
        """
        own = {"owner": within.owner, "queue": within.queue}
        stages: list[dict[str, Any]] = [
            {"$match": {name: value for name, value in own.items() if value is not None}},
            {"$sort": {"_id": -1}}, {"$limit": _RECENT}, {"$project": {"_id": 1}},
            {"$match": {"_id": {"$regex": f"{re.escape(end)}$"}}}, {"$limit": 2},
        ]  # fmt: skip
        with translated():
            return [document["_id"] async for document in self._jobs.aggregate(stages)]


def _where(criteria: Criteria) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for name in ("owner", "backend", "queue", "group", "name", "parent"):
        value = getattr(criteria, name)
        if value is not None:
            where[name] = value
    if criteria.ancestor is not None:
        where["ancestors"] = criteria.ancestor
    if criteria.states:
        where["state"] = {"$in": [state.value for state in criteria.states]}
    created = {"$gte": criteria.created_after, "$lt": criteria.created_before}
    created = {operator: moment for operator, moment in created.items() if moment is not None}
    if created:
        where["created_at"] = created
    if criteria.updated_after is not None:
        where["updated_at"] = {"$gte": criteria.updated_after}
    return where


def _cursor(job: Job, *, by_update: bool) -> str:
    place = [job.id, job.updated_at.isoformat()] if by_update else [job.id]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def _beyond(cursor: str, *, by_update: bool) -> dict[str, Any]:
    identifier, moment = _place(cursor, by_update=by_update)
    if moment is None:
        return {"_id": {"$lt": identifier}}
    return {"$or": [{"updated_at": {"$gt": moment}}, {"updated_at": moment, "_id": {"$gt": identifier}}]}


def _place(cursor: str, *, by_update: bool) -> tuple[str, datetime | None]:
    """Return the job that a cursor names and, in a list by change, when that had changed."""
    try:
        identifier, *rest = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(identifier, str) or len(rest) != int(by_update):
            raise TypeError("a place is a job's id and, in a list by change, a time")
        moment = datetime.fromisoformat(rest[0]).astimezone(UTC) if by_update else None
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # ValueError is base64's and JSON's as well
        raise InvalidInputError.of("cursor", "this is not a cursor of this list") from error
    return identifier, moment
