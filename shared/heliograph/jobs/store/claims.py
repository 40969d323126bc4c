"""Work: claimed, held by a lease, reported on, finished.

Who holds a lease writes under its token alone: once somebody else holds the job, no write of the former holder
matches any more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from heliograph.ids import new_id
from heliograph.jobs.model import Artifact, Job, JobError
from heliograph.jobs.states import HELD, State
from heliograph.jobs.store.apply import PAUSE_SECONDS, apply_change
from heliograph.jobs.store.changes import CANCELLED, EXPIRED, ChangePlan, Target, end_or_requeue, to
from heliograph.jobs.store.documents import artifact_document, error_document, to_job
from heliograph.jobs.store.expressions import NOW, REMOVE, TARGET, after, is_past, literal, when
from heliograph.jobs.store.indexes import JOBS
from heliograph.json_text import json_text
from heliograph.storage import Batcher, Database, StoreUnavailableError, Update, encoded_update, update_each
from heliograph.storage.errors import translated

LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended: ``done`` with a result, or an error, retried after ``retry_after`` where that is set.

    Where its holder ``hands_back`` the job, unfinished through no fault of its own, it is ``queued`` as if this attempt
    had not been.
    """

    state: State
    result: Any = None
    error: JobError | None = None
    artifacts: tuple[Artifact, ...] = ()
    message: str | None = None
    retry_after: timedelta | None = None
    hands_back: bool = False
    change: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands: ``fraction`` in 0..1, a free-text stage, seconds to go, a message; None leaves as it is."""

    fraction: float | None = None
    stage: str | None = None
    eta_seconds: float | None = None
    message: str | None = None


class ClaimStore:
    """Hands out work and takes it back, for one process."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)
        self._updates: Batcher[Update, bool] = Batcher(self._update_batch)

    async def claim(self, queues: Sequence[str], holder: str, lease: timedelta = LEASE) -> Job | None:
        """Take the next job that is due, by priority, then age; None where there is none.

        A job that somebody wished to cancel, or whose ``start_before`` has passed, ends ``cancelled`` instead; it is
        returned all the same, and only one that is ``running`` is the caller's to run.
        """
        milliseconds = int(lease / timedelta(milliseconds=1))
        runs = {"$eq": [TARGET, State.RUNNING.value]}
        expired = is_past("$start_before")
        lease_field = {
            "holder": literal(holder), "token": literal(new_id()), "ms": literal(milliseconds),
            "until": after(literal(milliseconds)),
        }  # fmt: skip
        fields = {
            "attempt": {"$add": ["$attempt", when(runs, 1, 0)]},
            "lease": when(runs, lease_field, REMOVE),
            "started_at": when(runs, NOW, "$started_at"),
            "message": REMOVE,
            "error": when(runs, "$error", when("$cancel_requested", CANCELLED, EXPIRED)),
        }  # fmt: skip
        choice = when({"$or": ["$cancel_requested", expired]}, State.CANCELLED.value, State.RUNNING.value)
        where = {"state": State.QUEUED.value, "due": True, "queue": {"$in": list(queues)}}
        plan = ChangePlan(holder, Target((State.RUNNING, State.CANCELLED), choice), fields)
        claimed = await apply_change(self._jobs, where, plan, sort=[("priority", -1), ("_id", 1)])
        return to_job(claimed) if claimed else None

    async def report(self, identifier: str, token: str, progress: Progress) -> bool:
        """Overwrite where a job stands. No change of state: it leaves no history. Returns whether the lease holds."""
        named = {
            "progress": progress.fraction, "stage": progress.stage, "eta_seconds": progress.eta_seconds,
            "message": progress.message,
        }  # fmt: skip
        values = {name: value for name, value in named.items() if value is not None}
        operators = {"$currentDate": {"updated_at": True}} | ({"$set": values} if values else {})
        update = encoded_update(identifier, _held(identifier, token), operators)
        return await self._updates.submit(identifier, update, update.size)

    async def finish(self, identifier: str, token: str, finish: Finish, by: str) -> bool:
        """End an attempt. Returns False where the lease is lost: somebody else decides now.

        Repeating it under the same ``finish.change`` is harmless.
        """
        plan = _finishing(finish, by)
        update = encoded_update(identifier, plan.condition(_held(identifier, token)), plan.pipeline(), change=plan.id)
        return await self._updates.submit(identifier, update, update.size)

    async def renew(self, tokens: Mapping[str, str]) -> dict[str, bool]:
        """Renew leases (job id to token) in bulk; what the answer lacks is lost, its values are wishes to cancel.

        One update and one read whatever their number.
        """
        where = {
            "_id": {"$in": list(tokens)}, "lease.token": {"$in": list(tokens.values())}, "state": {"$in": list(HELD)},
            "lease.until": {"$type": "date"},
        }  # fmt: skip
        with translated():
            await self._jobs.update_many(where, [{"$set": {"lease.until": after("$lease.ms")}}])
            held = self._jobs.find(where, {"cancel_requested": 1})
            return {document["_id"]: document["cancel_requested"] async for document in held}

    async def _update_batch(self, updates: Sequence[Update]) -> Sequence[bool | Exception]:
        try:
            return await update_each(self._jobs, updates)
        except StoreUnavailableError:
            # Made or not is unknown; what is repeated under its id is recognised.
            await asyncio.sleep(PAUSE_SECONDS)
            return await update_each(self._jobs, updates)


def _held(identifier: str, token: str) -> dict[str, Any]:
    return {"_id": identifier, "lease.token": token, "state": {"$in": list(HELD)}}


def _finishing(finish: Finish, by: str) -> ChangePlan:
    fields: dict[str, Any] = {
        "error": literal(error_document(finish.error)) if finish.error else REMOVE,
        "result": literal(json_text(finish.result)) if finish.state is State.DONE else REMOVE,
        "artifacts": literal([artifact_document(artifact) for artifact in finish.artifacts]),
        "message": literal(finish.message) if finish.message is not None else "$message",
        "stage": REMOVE,  # what it was at; the message keeps its last word
    }
    if finish.state is State.DONE:
        fields["progress"] = literal(1.0)
    if finish.state is State.CANCELLED and finish.error is None:
        fields["error"] = CANCELLED
    if finish.hands_back:
        target, queueing = end_or_requeue(None)
        return ChangePlan(by, target, {**fields, **queueing}, id=finish.change)
    if finish.retry_after is None or finish.error is None:
        return ChangePlan(by, to(finish.state), fields, id=finish.change)
    target, retrying = end_or_requeue(finish.error, int(finish.retry_after / timedelta(milliseconds=1)))
    return ChangePlan(by, target, {**fields, **retrying}, id=finish.change)
