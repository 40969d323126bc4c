"""Jobs as others refer to them: as a parent, as a predecessor, as children."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from heliograph.identity.identity import EVERYTHING, Scope
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ACTIVE, OVER, ErrorKind, State
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.jobs import within
from heliograph.storage import Database
from heliograph.storage.errors import translated

PAGE = 200


@dataclass(frozen=True, slots=True)
class Relative:
    """What of a job matters to those that refer to it. ``ancestors`` begins at the root."""

    id: str
    owner: str
    queue: str
    state: State
    cancel_requested: bool
    group: str | None
    ancestors: tuple[str, ...]

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled or is to be."""
        return self.state is State.CANCELLED or self.cancel_requested


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job's state, and what it came to: its result where it is done, its error where it is over and not done."""

    id: str
    state: State
    result: Any = None
    error: JobError | None = None


class TreeStore:
    """Looks jobs up for those that refer to them."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def relatives(self, ids: Iterable[str], scope: Scope = EVERYTHING) -> dict[str, Relative]:
        """Return those of these jobs that there are within a scope."""
        fields = {"owner": 1, "queue": 1, "state": 1, "cancel_requested": 1, "group": 1, "ancestors": 1}
        with translated():
            found = self._jobs.find({"_id": {"$in": list(ids)}, **within(scope)}, fields)
            return {
                row["_id"]: Relative(
                    row["_id"], row["owner"], row["queue"], State(row["state"]), row["cancel_requested"],
                    row.get("group"), tuple(row.get("ancestors", ())),
                )
                async for row in found
            }  # fmt: skip

    async def is_cancelled(self, ancestors: tuple[str, ...]) -> bool:
        """Whether the tree in which something has these ancestors was cancelled, or is to be, above it.

        The nearest ancestor that is at work, or was cancelled, decides: one that was cancelled and run again may have
        children, whatever became of those above it.
        """
        found = await self.relatives(ancestors)
        for each in reversed(ancestors):
            relative = found.get(each)
            if relative and relative.is_cancelled:
                return True
            if relative and relative.state in ACTIVE:
                return False
        return False

    async def to_cancel(self, job: str) -> list[str]:
        """Return descendants of a job that are not over nor to be cancelled yet: a page of them, nothing at the end."""
        where = {"ancestors": job, "state": {"$in": list(ACTIVE)}, "cancel_requested": False}
        with translated():
            found = await self._jobs.find(where, {"_id": 1}).limit(PAGE).to_list(PAGE)
        return [row["_id"] for row in found]

    async def states(self, job: str, descendants: Iterable[str]) -> dict[str, State]:
        """Return the states of those of these jobs that descend from ``job``."""
        wanted = {"_id": {"$in": list(descendants)}, "ancestors": job}
        with translated():
            return {row["_id"]: State(row["state"]) async for row in self._jobs.find(wanted, {"state": 1})}

    async def outcome(self, job: str, descendant: str) -> Outcome | None:
        """Return what became of a job, if it descends from ``job``."""
        wanted = {"_id": descendant, "ancestors": job}
        with translated():
            row = await self._jobs.find_one(wanted, {"state": 1, "result": 1, "error": 1})
        return _outcome(row) if row else None


def _outcome(row: dict[str, Any]) -> Outcome:
    state, result, error = State(row["state"]), row.get("result"), row.get("error")
    return Outcome(
        row["_id"], state, orjson.loads(result) if result is not None else None,
        JobError(ErrorKind(error["kind"]), error["message"], error.get("traceback"))
        if error and state in OVER else None,
    )  # fmt: skip
