"""The stores of jobs on one database, and what tests of every ring say about jobs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heliograph.ids import new_id
from heliograph.jobs.model import Job, JobError, Lease, NewJob
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store import (
    ClaimStore,
    FollowerStore,
    JobStore,
    Listing,
    LogStore,
    OutboxStore,
    UpkeepStore,
)
from heliograph.jobs.store.claims import Finish
from heliograph.jobs.store.indexes import JOBS, ensure_job_indexes
from heliograph.storage import Collection, Database, Document

QUEUE = "periodogram"
WORKER = "worker-1"
ALREADY_OVER = timedelta(milliseconds=-1)  # the length of a lease that has run out when it begins
TROUBLE = JobError(ErrorKind.TRANSIENT, "the catalogue did not answer")


def new_job(**fields: Any) -> NewJob:
    return NewJob(**({"id": new_id(), "queue": QUEUE, "owner": "ada", "parameters": {"period": 11}} | fields))


def done(result: Any = None, **fields: Any) -> Finish:
    return Finish(State.DONE, result, **fields)


def failed(**fields: Any) -> Finish:
    return Finish(State.FAILED, error=TROUBLE, **fields)


def lease_of(job: Job | None) -> Lease:
    assert job is not None, "nothing was claimed"
    assert job.lease is not None, f"the job is {job.state}"
    return job.lease


@dataclass(frozen=True, slots=True)
class Stores:
    """What a process that works with jobs has."""

    database: Database
    jobs: JobStore
    claims: ClaimStore
    upkeep: UpkeepStore
    followers: FollowerStore
    outbox: OutboxStore
    listing: Listing
    logs: LogStore

    @classmethod
    def of(cls, database: Database) -> "Stores":
        return cls(
            database, JobStore(database), ClaimStore(database), UpkeepStore(database), FollowerStore(database),
            OutboxStore(database), Listing(database), LogStore(database),
        )  # fmt: skip

    @property
    def collection(self) -> Collection:
        """The stored documents, for what no store shows and to bring a job into a state that takes long to come."""
        return self.database.collection(JOBS)

    async def submit(self, **fields: Any) -> Job:
        job = await self.jobs.insert(new_job(**fields))
        assert isinstance(job, Job)
        return job

    async def claim(self, lease: timedelta = timedelta(seconds=30), *queues: str) -> Job:
        job = await self.claims.claim(queues or (QUEUE,), WORKER, lease)
        assert job is not None, "nothing to claim"
        return job

    async def finish(self, job: Job, finish: Finish) -> bool:
        return await self.claims.finish(job.id, lease_of(job).token, finish, WORKER)

    async def stored(self, job: Job | str) -> Document:
        document: Document | None = await self.collection.find_one({"_id": job if isinstance(job, str) else job.id})
        assert document is not None, "the job is gone"
        return document

    async def story(self, job: Job | str) -> list[str]:
        """Return the job's changes of state, one word each."""
        return [entry["state"] for entry in (await self.stored(job))["history"]]

    async def told(self, job: Job | str) -> list[str]:
        """Return the states of which people are to be told, as the outbox says and as the notes for the planner say."""
        document = await self.stored(job)
        told = [entry for entry in document["outbox"] if entry["told"]]
        assert [entry["seq"] for entry in told] == [note["seq"] for note in document["notices_due"]]
        return [entry["state"] for entry in told]


@asynccontextmanager
async def open_stores(url: str, name: str) -> AsyncIterator[Stores]:
    async with Database(url, name) as database:
        await ensure_job_indexes(database)
        yield Stores.of(database)
