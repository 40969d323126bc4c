"""The outbox: events that travel inside the job until the bus has confirmed them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from heliograph.events.model import JobEvent, JobEventData
from heliograph.jobs.states import OVER
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database
from heliograph.storage.errors import translated

_log = structlog.get_logger()

SWEEP_AGE_MILLISECONDS = 5_000  # younger ones are still in the hands of the process that wrote them
SWEEP_BATCH = 500

_FIELDS = {
    "outbox": 1, "queue": 1, "backend": 1, "group": 1, "owner": 1, "name": 1, "created_at": 1, "traceparent": 1,
    "state": 1, "due": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a job has to tell, in the order of ``seq``; whether it waits to be claimed, or is over."""

    job: str
    events: tuple[tuple[str, JobEvent], ...]  # the change's id, by which it is taken out, and its event
    queue: str
    is_ready: bool
    is_over: bool


class OutboxStore:
    """Reads what is to be told, and takes out what was."""

    def __init__(self, database: Database, *, public_url: str | None = None) -> None:
        self._jobs = database.collection(JOBS)
        self._quick = database.collection(JOBS, journaled=False)  # a lost pull repeats an event, which is allowed
        self._links = f"{public_url.rstrip('/')}/v1/jobs/" if public_url else None

    async def read(self, jobs: Iterable[str]) -> list[Outgoing]:
        """Return what these jobs have to tell; a job with nothing is left out."""
        outgoing = []
        with translated():
            async for document in self._jobs.find({"_id": {"$in": list(jobs)}, "outbox.0": {"$exists": True}}, _FIELDS):
                try:
                    outgoing.append(self._outgoing(document))
                except Exception:  # noqa: BLE001 - a defect of whoever wrote it, which must not hold up the others
                    _log.exception("an event cannot be told", job=document["_id"])
        return outgoing

    async def pull(self, changes: Mapping[str, Iterable[str]]) -> None:
        """Take out confirmed events: job id to the ids of their changes."""
        told = [change for ids in changes.values() for change in ids]
        with translated():
            await self._quick.update_many({"_id": {"$in": list(changes)}}, {"$pull": {"outbox": {"id": {"$in": told}}}})

    async def stale(self) -> list[str]:
        """Return jobs whose oldest event was written a while ago and is still here, oldest first."""
        old = {"$lt": [{"$first": "$outbox.at"}, {"$subtract": ["$$NOW", SWEEP_AGE_MILLISECONDS]}]}
        where = {"outbox.0": {"$exists": True}, "outbox.at": {"$type": "date"}, "$expr": old}
        with translated():
            oldest = self._jobs.find(where, {"_id": 1}).sort("outbox.at", 1).limit(SWEEP_BATCH)
            found = await oldest.to_list(SWEEP_BATCH)
        return [document["_id"] for document in found]

    def _outgoing(self, document: Mapping[str, Any]) -> Outgoing:
        entries = sorted(document["outbox"], key=lambda entry: entry["seq"])
        return Outgoing(
            document["_id"],
            tuple((entry["id"], event_of(document, entry, self._links)) for entry in entries),
            document["queue"],
            document["state"] == "queued" and document["due"],
            document["state"] in OVER,
        )


def event_of(document: Mapping[str, Any], entry: Mapping[str, Any], links: str | None = None) -> JobEvent:
    """Make the event of one change of a stored job; ``links`` is the public address of jobs, ending in a slash."""
    identifier = document["_id"]
    data = JobEventData(
        id=identifier, state=entry["state"], series=entry["series"], seq=entry["seq"], attempt=entry.get("attempt", 0),
        told=entry.get("told", False), queue=document["queue"], backend=document.get("backend"),
        group=document.get("group"), owner=document["owner"], name=document.get("name"), stage=entry.get("stage"),
        message=entry.get("message"), by=entry["by"], created_at=document["created_at"], at=entry["at"],
        links={"self": links + identifier} if links else {},
    )  # fmt: skip
    return JobEvent.of_change(data, traceparent=document.get("traceparent"))
