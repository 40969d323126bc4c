"""Sets of jobs, counted by the states of their jobs."""

from datetime import datetime
from typing import Any

from heliograph.errors import NotFoundError
from heliograph.identity.identity import EVERYTHING, Scope
from heliograph.jobs.sets import FailedJob, Group, Outcome, Tally
from heliograph.jobs.states import ACTIVE, OVER, State
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.jobs import within
from heliograph.storage import Database, Document
from heliograph.storage.errors import translated

MOST_FAILED = 20  # told with their message


class SetStore:
    """Tally groups and trees, whose states are read from an index alone."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def descendants(self, job: str) -> Tally:
        """Count what descends from a job, whosever it is."""
        with translated():
            rows = self._jobs.aggregate([
                {"$match": {"ancestors": job}},
                {"$group": {"_id": "$state", "count": {"$sum": 1}}},
            ])  # fmt: skip
            return Tally({State(row["_id"]): row["count"] async for row in rows})

    async def group(self, name: str, scope: Scope = EVERYTHING) -> Group:
        """Return what the jobs of a group within a scope amount to.

        Raises
        ------
        NotFoundError
            No job of this group lies within.
        """
        where = {"group": name, **within(scope)}
        with translated():
            rows = await self._jobs.aggregate([
                {"$match": where},
                {"$group": {
                    "_id": "$state", "count": {"$sum": 1}, "first": {"$min": "$_id"}, "last": {"$max": "$ended_at"},
                }},
            ]).to_list(None)  # fmt: skip
            if not rows:
                raise NotFoundError(f"there is no job of the group {name}")
            earliest = {"_id": min(row["first"] for row in rows)}
            first: Document | None = await self._jobs.find_one(earliest, {"created_at": 1})
        tally = Tally({State(row["_id"]): row["count"] for row in rows})
        if first is None:  # removed in between, as the first of a group is when it was kept long enough
            return await self.group(name, scope)
        return Group(
            name, tally, created_at=first["created_at"],
            ended_at=max(row["last"] for row in rows) if tally.is_over else None,
            failed=await self._failed(where) if tally.by_state.get(State.FAILED) else (),
        )  # fmt: skip

    async def since(self, owner: str, group: str, moment: datetime) -> Outcome:
        """Return what became of an owner's jobs of a group: those that are not over, and those that ended since.

        The former are counted first: a job that ends in between counts twice, and so the set is never taken to be
        over without it.
        """
        where = {"group": group, "owner": owner}
        active = await self._count({**where, "state": {"$in": list(ACTIVE)}})
        over = await self._count({**where, "state": {"$in": list(OVER)}, "ended_at": {"$gte": moment}})
        by_state = {State(row["_id"]): row["count"] for row in (*active, *over)}
        return Outcome(Tally(by_state), max((row["last"] for row in over), default=None))

    async def failed(self, owner: str, group: str, since: datetime, until: datetime | None) -> tuple[FailedJob, ...]:
        """Return an owner's jobs of a group that failed first from ``since`` on, and up to ``until``."""
        span = {"$gte": since} | ({"$lte": until} if until else {})
        return await self._failed({"group": group, "owner": owner, "ended_at": span})

    async def only(self, owner: str, group: str, since: datetime, until: datetime | None) -> str | None:
        """Return an owner's job of a group that alone ended from ``since`` on, and up to ``until``."""
        span = {"$gte": since} | ({"$lte": until} if until else {})
        where = {"group": group, "owner": owner, "state": {"$in": list(OVER)}, "ended_at": span}
        with translated():
            found = await self._jobs.find(where, {"_id": 1}).limit(2).to_list(2)
        return found[0]["_id"] if len(found) == 1 else None

    async def _count(self, where: dict[str, Any]) -> list[Document]:
        with translated():
            rows: list[Document] = await self._jobs.aggregate([
                {"$match": where},
                {"$group": {"_id": "$state", "count": {"$sum": 1}, "last": {"$max": "$ended_at"}}},
            ]).to_list(None)  # fmt: skip
        return rows

    async def _failed(self, where: dict[str, Any]) -> tuple[FailedJob, ...]:
        """Return those that failed first."""
        with translated():
            earliest = self._jobs.aggregate([
                {"$match": {**where, "state": State.FAILED.value}},
                {"$project": {"ended_at": 1}},
                {"$sort": {"ended_at": 1, "_id": 1}},
                {"$limit": MOST_FAILED},
            ])  # fmt: skip
            ids = [row["_id"] async for row in earliest]
            found = self._jobs.find({"_id": {"$in": ids}}, {"name": 1, "error.message": 1, "notify": 1})
            jobs = {
                row["_id"]: FailedJob(
                    row["_id"], row.get("name"), row.get("error", {}).get("message"),
                    row["notify"].get("confidential", False),
                )
                async for row in found
            }  # fmt: skip
        return tuple(jobs[job] for job in ids if job in jobs)
