"""What jobs still have to be told to people: noted in the job by the change itself, taken out once it is planned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliograph.events.model import JobEvent
from heliograph.jobs.model import Job
from heliograph.jobs.store.apply import WITHOUT_SECRETS
from heliograph.jobs.store.documents import to_job
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.outbox import event_of
from heliograph.storage import Database, encoded_update, update_each
from heliograph.storage.errors import translated

SWEEP_AGE_MILLISECONDS = 2_000  # younger ones are likely to be announced by the bus
SWEEP_BATCH = 200
POSTPONED_MILLISECONDS = 3_000  # and the age above: a job that waits for others comes up every five seconds


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job with its history, the changes that people are to be told of, and what counts as the same request."""

    job: Job
    events: tuple[JobEvent, ...]
    seqs: tuple[int, ...]
    identity: str


class DueStore:
    """Finds jobs of which something is to be told, and settles what was planned."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)
        self._quick = database.collection(JOBS, journaled=False)  # a lost settlement repeats what is then known

    async def read(self, jobs: Iterable[str]) -> list[DueJob]:
        """Return those of these jobs of which something is to be told."""
        with translated():
            found = self._jobs.find({"_id": {"$in": list(jobs)}, "notices_due.0": {"$exists": True}}, WITHOUT_SECRETS)
            return [_due(document) async for document in found]

    async def stale(self) -> list[str]:
        """Return jobs that have waited for a notifier longer than an event takes, the longest waiting first."""
        old = {"$lt": [{"$first": "$notices_due.at"}, {"$subtract": ["$$NOW", SWEEP_AGE_MILLISECONDS]}]}
        where = {"notices_due.0": {"$exists": True}, "notices_due.at": {"$type": "date"}, "$expr": old}
        with translated():
            found = await self._jobs.find(where, {"_id": 1}).sort("notices_due.at", 1).to_list(SWEEP_BATCH)
        return [document["_id"] for document in found]

    async def waits_in_group(self, owner: str, group: str) -> bool:
        """Say whether a job of an owner's in a group still waits for a notifier."""
        where = {
            "owner": owner,
            "group": group,
            "notices_due.0": {"$exists": True},
            "notices_due.at": {"$type": "date"},
        }
        with translated():
            return await self._jobs.find_one(where, {"_id": 1}) is not None

    async def postpone(self, jobs: Sequence[str]) -> None:
        """Let what is to be told of these jobs be looked at a while later, behind what waits besides."""
        due = {"$map": {"input": "$notices_due", "in": {"$mergeObjects": ["$$this", {"at": {
            "$add": ["$$NOW", POSTPONED_MILLISECONDS]}}]}}}  # fmt: skip
        where = {"_id": {"$in": list(jobs)}, "notices_due.0": {"$exists": True}}
        with translated():
            await self._quick.update_many(where, [{"$set": {"notices_due": due}}])

    async def settle(self, planned: Sequence[DueJob]) -> None:
        """Take out what was planned. Repeating it is harmless; where it is lost, the same is planned again."""
        updates = [
            encoded_update(due.job.id, {"_id": due.job.id}, {"$pull": {"notices_due": {"seq": {"$in": due.seqs}}}})
            for due in planned
        ]
        if updates:
            await update_each(self._quick, updates)


def _due(document: Mapping[str, Any]) -> DueJob:
    seqs = {entry["seq"] for entry in document["notices_due"]}
    told = [{**entry, "told": True} for entry in document["history"] if entry["seq"] in seqs]
    events = tuple(event_of(document, entry) for entry in sorted(told, key=lambda entry: entry["seq"]))
    # A job without an identity is the same request as itself alone, in every series.
    return DueJob(to_job(document), events, tuple(sorted(seqs)), document.get("identity") or document["_id"])
