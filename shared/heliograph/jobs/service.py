"""The job service: what routes and dialects ask for. It stores, and sees to it that what is stored is told."""

import contextlib

from heliograph import faults
from heliograph.abreast import abreast
from heliograph.bus.port import Bus
from heliograph.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity, may_change, scope
from heliograph.jobs.model import Job, NewJob
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import HELD, State
from heliograph.jobs.store import FollowerStore, JobStore, KnownRequest, TreeStore

CANCELLED_AT_ONCE = 16


class JobService:
    """Submits, shows, cancels and reopens jobs on behalf of a caller."""

    def __init__(
        self, store: JobStore, followers: FollowerStore, trees: TreeStore, relay: Relay, bus: Bus
    ) -> None:  # fmt: skip
        self._store = store
        self._followers = followers
        self._trees = trees
        self._relay = relay
        self._bus = bus

    async def submit(self, new: NewJob, caller: Identity) -> tuple[Job, bool]:
        """Store a job; return it, and whether it is new: its key, or its input, may stand for one already.

        Raises
        ------
        InvalidInputError
            The key was used for another request, or the job cannot be stored.
        ConflictError
            The queue keeps each input once, and holds one of this input that the caller may not see.
        """
        stored = await self._store.insert(new)
        if isinstance(stored, KnownRequest):
            if stored.digest is None and not scope(caller).holds(stored.job.owner, stored.job.queue):
                raise ConflictError("the queue holds a job of this input already, and it is somebody else's")
            if stored.digest is not None and new.idempotency and stored.digest != new.idempotency[1]:
                raise InvalidInputError.of("Idempotency-Key", "this key was used for another request")
            return stored.job, False
        faults.reach(faults.Point.SUBMITTED_NOT_PUBLISHED)
        self._relay.nudge(stored.id)
        if not (new.after or new.ancestors):
            return stored, True
        # What it stands to may have ended, or been cancelled, between its admission and its storing: who did that could
        # not see it yet.
        if new.after:
            await self._relay.follow_up(await self._followers.release_over(new.after))
        if await self._trees.is_cancelled(new.ancestors):
            await self._stop_if_active(stored.id, caller.subject)
        return await self._store.get(stored.id), True

    async def known(self, caller: Identity, idempotency: tuple[str, str]) -> Job | None:
        """Return the caller's job that this key and digest stand for already; None where there is none."""
        key, digest = idempotency
        request = await self._store.known(caller.subject, key)
        return request.job if request and request.digest == digest else None

    async def get(self, identifier: str, caller: Identity, *, with_history: bool = False) -> Job:
        """Return a job that the caller may see; one that they may not is not found."""
        read = self._store.with_history if with_history else self._store.get
        return await read(identifier, scope(caller))

    async def cancel(self, identifier: str, caller: Identity) -> Job:
        """Cancel a job and what descends from it: what waits ends now, the holders of the rest are told to stop.

        Raises
        ------
        ConflictError
            All of it is over.
        """
        await self._require_change(identifier, caller)
        try:
            job = await self._stop(identifier, caller.subject)
        except ConflictError:
            if not await self._stop_descendants(identifier, caller.subject):
                raise
            return await self._store.get(identifier)
        # After the job itself: what is submitted under it from now on finds it cancelled.
        await self._stop_descendants(identifier, caller.subject)
        return job

    async def reopen(self, identifier: str, caller: Identity) -> Job:
        """Run a job that is over once more, as a new series."""
        await self._require_change(identifier, caller)
        job = await self._store.reopen(identifier, caller.subject)
        self._relay.nudge(job.id)
        return job

    async def _require_change(self, identifier: str, caller: Identity) -> None:
        job = await self.get(identifier, caller)
        if not may_change(caller, job.owner, job.queue):
            raise ForbiddenError("your roles do not allow you to change this job")

    async def _stop_descendants(self, identifier: str, by: str) -> int:
        """Cancel what descends from a job and is at work or waits; return how many jobs that were."""
        count = 0
        while active := await self._trees.to_cancel(identifier):
            await abreast(lambda job: self._stop_if_active(job, by), active, most=CANCELLED_AT_ONCE)
            count += len(active)
        return count

    async def _stop_if_active(self, identifier: str, by: str) -> None:
        with contextlib.suppress(ConflictError, NotFoundError):  # it ended by itself, and may be removed by now
            await self._stop(identifier, by)

    async def _stop(self, identifier: str, by: str) -> Job:
        job = await self._store.cancel(identifier, by)
        if job.state is State.CANCELLED:
            self._relay.nudge(job.id)
        elif job.state in HELD and job.lease and job.backend:  # agents are told at their next heartbeat
            await self._bus.wish_cancel(job.lease.holder, job.id)
        return job
