"""Jobs by id: stored, read, cancelled, reopened."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from heliograph.errors import ConflictError, NotFoundError
from heliograph.identity.identity import EVERYTHING, Scope
from heliograph.jobs.model import Job, NewJob
from heliograph.jobs.states import HELD, OVER, State, sources
from heliograph.jobs.store.apply import PAUSE_SECONDS, WITHOUT_SECRETS, apply_change
from heliograph.jobs.store.changes import CANCELLED, ChangePlan, reopening, to
from heliograph.jobs.store.documents import new_document, to_job, to_millisecond
from heliograph.jobs.store.expressions import literal
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Batcher, Database, DuplicateError, Encoded, StoreUnavailableError, encoded, insert_each
from heliograph.storage.errors import translated

# What a worker reads leaves out what grows: its history and what is still to be told. All others' view of a job leaves
# out its sealed secrets as well.
CLAIMED_VIEW = {"history": 0, "outbox": 0, "notices_due": 0}
VIEW = {**CLAIMED_VIEW, **WITHOUT_SECRETS}
_CANCEL_TRIES = 5  # each loses only to a change of state in the same millisecond


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """The job that stands for a request already.

    ``digest`` is of what was asked for under its idempotency key; None where its queue keeps each input once.
    """

    job: Job
    digest: str | None


class JobStore:
    """Stores and changes jobs by id."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)
        self._inserts: Batcher[Encoded, None] = Batcher(self._insert_batch)

    async def insert(self, new: NewJob) -> Job | KnownRequest:
        """Store a job, journaled, and return it; or the one that its idempotency key, or its input, stands for already.

        Raises
        ------
        InvalidInputError
            It holds what cannot be stored.
        StoreUnavailableError
            The database is away. Whether the job was stored is unknown; the same key will tell.
        """
        document = new_document(new, to_millisecond(datetime.now(UTC)))
        raw = encoded(document)
        try:
            await self._inserts.submit(new.id, raw, len(raw.raw))
        except DuplicateError as error:
            if error.index == {"_id"}:
                if not await self._is_stored(new.id, document["history"][0]["id"]):
                    raise
                return to_job(document)  # an earlier try had stored it, and its answer was lost
            known = await self._in_its_place(new, error)
            if known is None:
                raise
            return known
        return to_job(document)

    async def get(self, identifier: str, scope: Scope = EVERYTHING) -> Job:
        """Return a job within a scope.

        Raises
        ------
        NotFoundError
            There is none, or it lies outside: the two look alike.
        """
        with translated():
            found = await self._jobs.find_one({"_id": identifier, **within(scope)}, VIEW)
        if found is None:
            raise NotFoundError(f"there is no job {identifier}")
        return to_job(found)

    async def with_history(self, identifier: str, scope: Scope = EVERYTHING) -> Job:
        """Return a job with its history (the last 200 changes of state)."""
        with translated():
            found = await self._jobs.find_one({"_id": identifier, **within(scope)}, WITHOUT_SECRETS)
        if found is None:
            raise NotFoundError(f"there is no job {identifier}")
        return to_job(found)

    async def several_with_history(self, identifiers: Iterable[str]) -> dict[str, Job]:
        """Return those of these jobs that there are, by id, with their history."""
        with translated():
            found = self._jobs.find({"_id": {"$in": list(identifiers)}}, WITHOUT_SECRETS)
            return {document["_id"]: to_job(document) async for document in found}

    async def cancel(self, identifier: str, by: str) -> Job:
        """End a queued job; leave a wish with the holder of a held one. Wishing twice is harmless.

        Raises
        ------
        ConflictError
            The job is over.
        """
        fields = {"cancel_requested": literal(True), "error": CANCELLED}
        plan = ChangePlan(by, to(State.CANCELLED), fields)
        for _ in range(_CANCEL_TRIES):
            ended = await apply_change(self._jobs, {"_id": identifier, "state": State.QUEUED.value}, plan)
            if ended:
                return to_job(ended)
            with translated():
                wished = await self._jobs.find_one_and_update(
                    {"_id": identifier, "state": {"$in": list(HELD)}},
                    {
                        "$set": {"cancel_requested": True, "cancel_requested_by": by},
                        "$currentDate": {"updated_at": True},
                    },
                    projection=VIEW, return_document=True,
                )  # fmt: skip
            if wished:
                return to_job(wished)
            job = await self.get(identifier)
            if job.state in OVER:
                raise ConflictError(f"the job is {job.state} already")
        raise ConflictError("the job keeps changing; try again")

    async def reopen(self, identifier: str, by: str) -> Job:
        """Start a new series of a job that is over.

        Raises
        ------
        ConflictError
            The job is not over, it is being removed, or its queue holds another one of the same input by now.
        """
        where = {"_id": identifier, "state": {"$in": sources(State.QUEUED, reopen=True)}, "purging": {"$ne": True}}
        try:
            reopened = await apply_change(self._jobs, where, reopening(by))
        except DuplicateError as error:
            raise ConflictError("the queue holds another job of the same input") from error
        if reopened:
            return to_job(reopened)
        job = await self.get(identifier)
        if job.state in OVER:
            raise ConflictError("the job is being removed")
        raise ConflictError(f"the job is {job.state}; only one that is over can be run again")

    async def _in_its_place(self, new: NewJob, error: DuplicateError) -> KnownRequest | None:
        """Return the job that was there first; None where it has gone meanwhile."""
        if error.index == {"once_key"}:
            with translated():
                found = await self._jobs.find_one({"once_key": new.once_key}, VIEW)
            return KnownRequest(to_job(found), None) if found else None
        return await self.known(new.owner, new.idempotency[0]) if new.idempotency else None

    async def _is_stored(self, identifier: str, change: str) -> bool:
        with translated():
            return await self._jobs.find_one({"_id": identifier, "history.id": change}, {"_id": 1}) is not None

    async def known(self, owner: str, key: str) -> KnownRequest | None:
        """Return the job that an owner's idempotency key stands for; None where it was never used."""
        with translated():
            found = await self._jobs.find_one({"owner": owner, "idempotency.key": key}, VIEW)
        return KnownRequest(to_job(found), found["idempotency"]["digest"]) if found else None

    async def _insert_batch(self, documents: Any) -> list[Exception | None]:
        try:
            return await insert_each(self._jobs, documents)
        except StoreUnavailableError:
            # Stored or not is unknown; `insert` knows its own by its first change.
            await asyncio.sleep(PAUSE_SECONDS)
            return await insert_each(self._jobs, documents)


def within(scope: Scope) -> dict[str, Any]:
    """Return the filter of what lies within a scope."""
    limits = {"owner": scope.owner, "queue": scope.queue}
    return {name: value for name, value in limits.items() if value is not None}
