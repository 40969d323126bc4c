"""Jobs that were given up: failed although the same request may succeed, once no attempt was left."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from heliograph.jobs.model import Job
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database
from heliograph.storage.errors import translated

GIVEN_UP = (ErrorKind.LOST, ErrorKind.TIMEOUT, ErrorKind.TRANSIENT)
MOST_COUNTED = 10_000  # of more, "10,000 at least" says as much

_WHERE = {"state": State.FAILED.value, "error.kind": {"$in": [kind.value for kind in GIVEN_UP]}}
_FIELDS = {"queue": 1, "backend": 1, "attempt": 1, "error.kind": 1, "error.message": 1, "ended_at": 1}


@dataclass(frozen=True, slots=True)
class GivenUpJob:
    """A job that was given up, after so many attempts, and what became of the last."""

    id: str
    queue: str
    backend: str | None
    attempts: int
    kind: ErrorKind
    message: str
    at: datetime


class GivenUpStore:
    """Lists and counts jobs that were given up."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def page(self, limit: int, beyond: tuple[datetime, str] | None = None) -> list[GivenUpJob]:
        """Return at most ``limit``, the last given up first, after the one of this time and id."""
        where: dict[str, Any] = dict(_WHERE)
        if beyond is not None:
            at, identifier = beyond
            where["ended_at"] = {"$lte": at}
            where["$or"] = [{"ended_at": {"$lt": at}}, {"_id": {"$lt": identifier}}]
        with translated():
            found = self._jobs.find(where, _FIELDS, hint="given_up").sort([("ended_at", -1), ("_id", -1)]).limit(limit)
            return [_given_up(document) async for document in found]

    async def count(self) -> int:
        """Return how many there are, at most ``MOST_COUNTED``."""
        with translated():
            number: int = await self._jobs.count_documents(_WHERE, hint="given_up", limit=MOST_COUNTED)
        return number


def is_given_up(job: Job) -> bool:
    """Say whether a job was given up."""
    return job.state is State.FAILED and job.error is not None and job.error.kind in GIVEN_UP


def _given_up(document: Mapping[str, Any]) -> GivenUpJob:
    error = document["error"]
    return GivenUpJob(
        document["_id"], document["queue"], document.get("backend"), document["attempt"], ErrorKind(error["kind"]),
        error["message"], document["ended_at"],
    )  # fmt: skip
