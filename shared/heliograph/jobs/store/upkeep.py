"""What the reconciler asks and does: work whose time has come, leases whose holder is gone, jobs to be removed."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta

from heliograph.backends.failures import held_too_long, ran_too_long
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ACTIVE, HELD, OVER, ErrorKind, State
from heliograph.jobs.store.apply import apply_change
from heliograph.jobs.store.changes import CANCELLED, EXPIRED, ChangePlan, Target, end_or_requeue, to
from heliograph.jobs.store.documents import error_document
from heliograph.jobs.store.expressions import IS_CANCELLED, NOW, REMOVE, Expression, is_past, literal, when
from heliograph.jobs.store.indexes import JOBS
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import OPEN, Subject
from heliograph.storage import Database
from heliograph.storage.errors import translated

BATCH = 100
BY = "reconciler"
# How long an agent has to report after an outage of ours before its job is called overdue: the length of its lease, in
# which it shows itself anyway, but no longer than the usual one. A service that is restarted every day would never have
# been there for a lease of a week.
GRACE_WITHOUT_LEASE = timedelta(seconds=30)
LONGEST_GRACE = timedelta(minutes=5)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class LostLease:
    """A held job whose lease ran out."""

    job: str
    token: str


@dataclass(frozen=True, slots=True)
class Overrun:
    """A job that an agent, under the lease of this token, has in this state for longer than its ``limit``."""

    job: str
    token: str
    limit: timedelta
    state: State


@dataclass(frozen=True, slots=True)
class Expired:
    """A job whose time of keeping is over, marked as being removed, and the files it lists."""

    job: str
    files: tuple[str, ...]


class UpkeepStore:
    """Finds what time alone has changed, and changes it."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)
        self._logs = database.collection("logs")
        self._deliveries = database.collection(DELIVERIES)

    async def make_due(self) -> int:
        """Let jobs be claimed whose ``not_before`` has come; return how many."""
        where = {
            "state": State.QUEUED.value, "due": False, "not_before": {"$type": "date"},
            "waits_for.0": {"$exists": False},
            "$expr": {"$lte": ["$not_before", NOW]},
        }  # fmt: skip
        with translated():
            count: int = (await self._jobs.update_many(where, {"$set": {"due": True}})).modified_count
        return count

    async def expire_unstarted(self) -> list[str]:
        """End queued jobs whose ``start_before`` has passed; return their ids."""
        where = {"state": State.QUEUED.value, "start_before": {"$type": "date"}, "$expr": is_past("$start_before")}
        with translated():
            found = await self._jobs.find(where, {"_id": 1}).limit(BATCH).to_list(BATCH)
        ended = []
        for document in found:
            plan = ChangePlan(BY, to(State.CANCELLED), {"error": EXPIRED})
            if await apply_change(self._jobs, {"_id": document["_id"], **where}, plan):
                ended.append(document["_id"])
        return ended

    async def lost_leases(self, connected_for: timedelta = timedelta.max) -> list[LostLease]:
        """Return held jobs whose lease, no longer than ``connected_for``, has run out by the server's clock."""
        where = {"lease.until": {"$type": "date"}, "$expr": _is_lost(connected_for)}
        with translated():
            found = await self._jobs.find(where, {"lease.token": 1}).limit(BATCH).to_list(BATCH)
        return [LostLease(document["_id"], document["lease"]["token"]) for document in found]

    async def take_back(self, lost: LostLease, connected_for: timedelta) -> bool:
        """Queue a job again whose holder is gone; or end it ``cancelled`` or, out of attempts, ``failed``.

        Only a lease no longer than ``connected_for`` is called lost: while the database was away for us it was away
        for the holder too, and the holder gets one lease's length to renew.
        """
        target, fields = end_or_requeue(JobError(ErrorKind.LOST, "its worker was lost"))
        where = {
            "_id": lost.job, "lease.token": lost.token, "state": {"$in": list(HELD)},
            "lease.until": {"$type": "date"}, "$expr": _is_lost(connected_for),
        }  # fmt: skip
        return await apply_change(self._jobs, where, ChangePlan(BY, target, fields)) is not None

    async def overruns(self, connected_for: timedelta = timedelta.max) -> list[Overrun]:
        """Return jobs that agents hold beyond their deadline, as far as ``connected_for`` gave them time to report."""
        where = {"lease.deadline": {"$type": "date"}, "$expr": _is_overdue(connected_for)}
        with translated():
            names = {"lease.token": 1, "timeout_seconds": 1, "state": 1}
            found = await self._jobs.find(where, names).limit(BATCH).to_list(BATCH)
        return [
            Overrun(
                document["_id"], document["lease"]["token"], timedelta(seconds=document["timeout_seconds"]),
                State(document["state"]),
            )
            for document in found
        ]  # fmt: skip

    async def end_overrun(self, overrun: Overrun, connected_for: timedelta) -> bool:
        """End a job whose agent took longer than it may: ``failed``, or ``cancelled`` where somebody wished so.

        Nothing is called overdue before we were connected for long enough: what the agent finished while we were away
        it could not report.
        """
        words = ran_too_long if overrun.state is State.RUNNING else held_too_long
        error = error_document(JobError(ErrorKind.TIMEOUT, words(overrun.limit)))
        choice = when("$cancel_requested", State.CANCELLED.value, State.FAILED.value)
        fields = {"error": when(IS_CANCELLED, CANCELLED, literal(error)), "stage": REMOVE}
        where = {
            "_id": overrun.job, "lease.token": overrun.token, "state": overrun.state.value,
            "lease.deadline": {"$type": "date"}, "$expr": _is_overdue(connected_for),
        }  # fmt: skip
        plan = ChangePlan(BY, Target((State.FAILED, State.CANCELLED), choice), fields)
        return await apply_change(self._jobs, where, plan) is not None

    async def expired(self) -> AsyncIterator[Expired]:
        """Mark jobs whose time of keeping is over, and yield each; reopening refuses a marked one.

        One of which somebody is still to be told is kept until they are, or until that is given up.
        """
        where = {
            "expires_at": {"$type": "date"}, "$expr": is_past("$expires_at"), "state": {"$in": list(OVER)},
            "outbox.0": {"$exists": False}, "notices_due.0": {"$exists": False},
        }  # fmt: skip
        left = BATCH
        with translated():
            async for document in self._jobs.find(where, {"_id": 1}).sort("expires_at", 1):
                subject = str(Subject.of_job(document["_id"]))
                open_notices = {"subject": subject, "status": {"$in": [status.value for status in OPEN]}}
                if await self._deliveries.find_one(open_notices, {"_id": 1}):
                    continue
                marked = await self._jobs.find_one_and_update(
                    {"_id": document["_id"], **where}, {"$set": {"purging": True}}, projection={"artifacts": 1}
                )
                if marked:
                    yield Expired(marked["_id"], tuple(artifact["file"] for artifact in marked.get("artifacts", ())))
                    left -= 1
                if not left:
                    return

    async def remove(self, job: str) -> None:
        """Remove a marked job with its log; what is recorded of its notices has a retention of its own."""
        with translated():
            await self._logs.delete_many({"job": job})
            await self._jobs.delete_one({"_id": job, "purging": True})

    async def unlisted_artifacts(self, files: Iterable[tuple[str, str | None]]) -> list[str]:
        """Return those files (each with the job it was stored for) that no job lists, nor may list when it ends."""
        wanted = list(files)
        listed: set[str] = set()
        active: set[str] = set()
        with translated():
            where = {"_id": {"$in": [job for _, job in wanted if job]}}
            async for document in self._jobs.find(where, {"artifacts.file": 1, "state": 1}):
                listed.update(artifact["file"] for artifact in document.get("artifacts", ()))
                if document["state"] in ACTIVE:
                    active.add(document["_id"])
        return [file for file, job in wanted if file not in listed and job not in active]

    async def unlisted_inputs(self, uploads: Iterable[str]) -> list[str]:
        """Return those uploads that no job uses."""
        wanted = list(uploads)
        used: set[str] = set()
        with translated():
            where = {"inputs.0": {"$exists": True}, "inputs": {"$in": wanted}}
            async for document in self._jobs.find(where, {"inputs": 1}):
                used.update(document["inputs"])
        return [upload for upload in wanted if upload not in used]


def _is_lost(connected_for: timedelta) -> Expression:
    return {"$and": [{"$lt": ["$lease.until", NOW]}, {"$lte": ["$lease.ms", _milliseconds(connected_for)]}]}


def _is_overdue(connected_for: timedelta) -> Expression:
    lease = {"$ifNull": ["$lease.ms", _milliseconds(GRACE_WITHOUT_LEASE)]}
    grace = {"$min": [lease, _milliseconds(LONGEST_GRACE)]}
    return {"$and": [{"$lt": ["$lease.deadline", NOW]}, {"$lte": [grace, _milliseconds(connected_for)]}]}


def _milliseconds(duration: timedelta) -> Expression:
    return literal(duration // _MILLISECOND)
