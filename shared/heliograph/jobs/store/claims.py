"""Work: claimed, held by a lease, reported on, finished.

Who holds a lease writes under its token alone: once somebody else holds the job, no write of the former holder
matches any more.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from heliograph.ids import new_token
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Artifact, Job, JobError, Lease
from heliograph.jobs.states import HELD, State
from heliograph.jobs.store.apply import PAUSE_SECONDS, WITHOUT_SECRETS, apply_change
from heliograph.jobs.store.changes import CANCELLED, EXPIRED, ChangePlan, Target, end_or_requeue, to
from heliograph.jobs.store.documents import artifact_document, error_document, to_claimed
from heliograph.jobs.store.doubts import Doubts
from heliograph.jobs.store.expressions import NOW, REMOVE, TARGET, after, is_past, literal, when
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.jobs import CLAIMED_VIEW
from heliograph.jobs.store.lanes import BY_RANK, Lanes, waiting
from heliograph.json_text import json_text
from heliograph.storage import (
    Batcher,
    Database,
    Document,
    DuplicateError,
    StoreUnavailableError,
    Update,
    encoded_update,
    update_each,
)
from heliograph.storage.errors import translated

LEASE = timedelta(seconds=30)
NO_LIMITS: Mapping[str, Limits] = MappingProxyType({})
# Between batches of several writes. A batch costs the server a flush of its journal and 0.7 ms of CPU before its first
# operation: one change of state alone takes 1 ms, and 0.3 ms among 32.
PACE_SECONDS = 0.02
MOST_AT_ONCE = 64
# When the time of a job that an agent begins now is over; a worker watches over its own.
DEADLINE = when({"$gt": ["$timeout_seconds", 0]}, after({"$multiply": ["$timeout_seconds", 1000]}), REMOVE)
_CLAIM_TRIES = 8  # each loses to somebody else's claim from a limited queue in the same milliseconds


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
    change: str = field(default_factory=new_token)


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
        self._lanes = Lanes(self._jobs)
        self._updates: Batcher[Update, bool] = Batcher(self._update_batch, pace_seconds=PACE_SECONDS)
        self._begins: Batcher[Update, bool] = Batcher(self._update_batch)  # several come at once, and are waited for
        self._doubts = Doubts(self._jobs)
        self._most_at_once = MOST_AT_ONCE  # lower where others take the same

    async def claim(
        self,
        queues: Sequence[str],
        holder: str,
        lease: timedelta | None = LEASE,
        *,
        limits: Mapping[str, Limits] = NO_LIMITS,
        into: State = State.RUNNING,
        below: Sequence[str] = (),
        request: str | None = None,
        is_last: bool = False,
        token: str | None = None,
    ) -> Job | None:
        """Take the next job that is due, by priority, then age; None where there is none.

        A job that somebody wished to cancel, or whose ``start_before`` has passed, ends ``cancelled`` instead; it is
        returned all the same, and only one that is in the state ``into`` is the caller's.

        Parameters
        ----------
        queues
            Where to look.
        holder
            Who takes it.
        lease
            How long it is theirs without renewal; None: until they give it back.
        limits
            How many jobs of a queue are held at a time, for those of ``queues`` that have limits.
        into
            ``running`` for who begins at once, ``claimed`` for who says so later.
        below
            Only what descends from one of these jobs; empty: anything.
        request
            The word under which the claim can be found again; no two held jobs have the same.
        is_last
            Whether this is the last attempt of the job's series, however many it was allowed.
        token
            The lease's, where the caller must know it although the answer does not come.

        Raises
        ------
        DuplicateError
            A held job was claimed under this ``request`` already.
        """
        token = token or new_token()
        claiming = partial(claim_plan, holder, lease, into, request=request, is_last=is_last, token=token)
        try:
            return await self._claim(queues, limits, below, claiming)
        except StoreUnavailableError:
            self._doubts.note(token)
            raise

    async def _claim(
        self,
        queues: Sequence[str],
        limits: Mapping[str, Limits],
        below: Sequence[str],
        claiming: Callable[..., ChangePlan],
    ) -> Job | None:
        limited = {queue: limits[queue] for queue in queues if _is_limited(limits.get(queue))}
        plan = claiming()
        if not limited:
            return await self._take(waiting(queues, below), plan)
        unlimited = [queue for queue in queues if queue not in limited]
        for _ in range(_CLAIM_TRIES):
            candidate = await self._lanes.first(limited, below)
            other = await self._lanes.first_unlimited(unlimited, below) if candidate and unlimited else None
            if candidate is None or (other and other.rank < candidate.rank):
                return await self._take(waiting(unlimited, below), plan) if unlimited else None
            where = {"_id": candidate.job, **waiting(list(limited))}
            try:
                if claimed := await self._take(where, claiming(candidate.places)):
                    return claimed
            except DuplicateError as error:
                if error.index != {"slots"}:
                    raise
                # Somebody took that place since we looked.
        return None

    async def claim_several(
        self,
        queues: Sequence[str],
        holder: str,
        lease: timedelta = LEASE,
        *,
        most: int,
        shares: Mapping[str, int] = MappingProxyType({}),
    ) -> Sequence[Job]:
        """Take up to ``most`` jobs, and of a queue with a share no more than that, from queues without limits.

        They run at once; empty where there is none. Two round trips whatever their number: it reads what comes next and
        takes of it what is still as it was. Where others take the same, it goes on with fewer. Times of what it returns
        are this process's.
        """
        most = min(most, self._most_at_once)
        if most == 1:
            self._most_at_once = 2
            job = await self.claim(queues, holder, lease)
            return [job] if job else []
        with translated():
            found = await self._jobs.find(waiting(queues), CLAIMED_VIEW).sort(BY_RANK).limit(most).to_list(most)
        taken: Counter[str] = Counter()
        plain = []
        for document in found:
            queue = document["queue"]
            if not document["cancel_requested"] and taken[queue] < shares.get(queue, most):
                taken[queue] += 1
                plain.append(document)
        tries = (self._take_seen(document, holder, lease) for document in plain)
        claimed = await asyncio.gather(*tries, return_exceptions=True)
        jobs = [job for job in claimed if isinstance(job, Job)]
        if not jobs and (error := next((each for each in claimed if isinstance(each, BaseException)), None)):
            raise error
        self._most_at_once = max(1, most // 2) if 2 * len(jobs) < len(plain) else min(MOST_AT_ONCE, 2 * most)
        if jobs or not found:
            return jobs
        # All went to others, or what comes first may not be begun: let the server choose.
        job = await self.claim(queues, holder, lease)
        return [job] if job else []

    async def recover(self) -> Sequence[Job]:
        """Return jobs that were claimed here although the answer did not come; nobody would begin them for a lease."""
        return await self._doubts.settle()

    async def _take_seen(self, document: Document, holder: str, lease: timedelta) -> Job | None:
        """Take a job that nobody has changed since it was read."""
        token = new_token()
        plan = claim_plan(holder, lease, State.RUNNING, token=token)
        where = {"_id": document["_id"], "state": State.QUEUED.value, "due": True, "seq": document["seq"],
                 "cancel_requested": False}  # fmt: skip
        if "start_before" in document:
            where["$expr"] = {"$gt": ["$start_before", NOW]}
        update = encoded_update(document["_id"], plan.condition(where), plan.pipeline(), change=plan.id)
        try:
            if not await self._begins.submit(document["_id"], update, update.size):
                return None
        except StoreUnavailableError:
            self._doubts.note(token)
            raise
        now = datetime.now(UTC)
        return replace(
            to_claimed(document), state=State.RUNNING, seq=document["seq"] + 1, attempt=document["attempt"] + 1,
            lease=Lease(holder, token, now + lease), started_at=now, updated_at=now, message=None,
            begun_before="started_at" in document,
        )  # fmt: skip

    async def _take(self, where: Mapping[str, Any], plan: ChangePlan) -> Job | None:
        begins = State.RUNNING in plan.target.states  # what is handed to an agent has no secrets
        view = None if begins else WITHOUT_SECRETS
        claimed = await apply_change(self._jobs, where, plan, sort=BY_RANK, view=view)
        return to_claimed(claimed) if claimed else None

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

    async def remember(self, identifier: str, token: str, values: Mapping[str, Any]) -> bool:
        """Keep what a job's backend wants to find again, in place of what was kept. Returns whether the lease holds."""
        operators = {"$set": {"remembered": json_text(dict(values))}}
        update = encoded_update(identifier, _held(identifier, token), operators)
        return await self._updates.submit(identifier, update, update.size)

    async def finish(self, identifier: str, token: str, finish: Finish, by: str) -> bool:
        """End an attempt. Returns False where the lease is lost: somebody else decides now.

        Repeating it under the same ``finish.change`` is harmless.
        """
        plan = finishing(finish, by)
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


def _is_limited(limits: Limits | None) -> bool:
    return limits is not None and (limits.total is not None or limits.per_owner is not None)


def claim_plan(
    holder: str,
    lease: timedelta | None,
    into: State,
    places: Sequence[str] = (),
    *,
    request: str | None = None,
    is_last: bool = False,
    token: str | None = None,
) -> ChangePlan:
    """Plan to give a job to ``holder``, or to end it where that is what became of it meanwhile."""
    milliseconds = None if lease is None else int(lease / timedelta(milliseconds=1))
    begins = {"$eq": [TARGET, into.value]}
    lease_field = {
        "holder": literal(holder), "token": literal(token or new_token()), "ms": literal(milliseconds),
        "until": literal(None) if milliseconds is None else after(literal(milliseconds)),
    }  # fmt: skip
    if request is not None:
        lease_field["request"] = literal(request)
    if into is State.CLAIMED:
        lease_field["deadline"] = DEADLINE
    fields = {
        "attempt": {"$add": ["$attempt", when(begins, 1, 0)]},
        "lease": when(begins, lease_field, REMOVE),
        "started_at": when({"$eq": [TARGET, State.RUNNING.value]}, NOW, "$started_at"),
        "begun_before": {"$eq": [{"$type": "$started_at"}, "date"]},
        "message": REMOVE,
        "error": when(begins, "$error", when("$cancel_requested", CANCELLED, EXPIRED)),
    }  # fmt: skip
    if is_last:
        fields["max_attempts"] = when(begins, {"$add": ["$attempt", 1]}, "$max_attempts")
    if places:
        fields["slots"] = when(begins, literal(list(places)), REMOVE)
    choice = when({"$or": ["$cancel_requested", is_past("$start_before")]}, State.CANCELLED.value, into.value)
    return ChangePlan(holder, Target((into, State.CANCELLED), choice), fields)


def finishing(finish: Finish, by: str) -> ChangePlan:
    """Plan the end of an attempt."""
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
