"""The job service: what routes and dialects ask for. It stores, and sees to it that what is stored is told."""

from heliograph import faults
from heliograph.bus.port import Bus
from heliograph.errors import ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.roles import Action
from heliograph.identity.tokens import Identity
from heliograph.jobs.model import Job, NewJob
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import HELD, State
from heliograph.jobs.store import JobStore, KnownRequest


class JobService:
    """Submits, shows, cancels and reopens jobs on behalf of a caller."""

    def __init__(self, store: JobStore, relay: Relay, bus: Bus) -> None:
        self._store = store
        self._relay = relay
        self._bus = bus

    async def submit(self, new: NewJob) -> tuple[Job, bool]:
        """Store a job; return it, and whether it is new (its idempotency key may stand for one already).

        Raises
        ------
        InvalidInputError
            The key was used for another request, or the job cannot be stored.
        """
        stored = await self._store.insert(new)
        if isinstance(stored, KnownRequest):
            if new.idempotency and stored.digest != new.idempotency[1]:
                raise InvalidInputError.of("Idempotency-Key", "this key was used for another request")
            return stored.job, False
        faults.reach(faults.Point.SUBMITTED_NOT_PUBLISHED)
        self._relay.nudge(stored.id)
        return stored, True

    async def known(self, caller: Identity, idempotency: tuple[str, str]) -> Job | None:
        """Return the caller's job that this key and digest stand for already; None where there is none."""
        key, digest = idempotency
        request = await self._store.known(caller.subject, key)
        return request.job if request and request.digest == digest else None

    async def get(self, identifier: str, caller: Identity, *, with_history: bool = False) -> Job:
        """Return a job that the caller may see; one that they may not is not found."""
        read = self._store.with_history if with_history else self._store.get
        return await read(identifier, owner=scope(caller))

    async def cancel(self, identifier: str, caller: Identity) -> Job:
        """Cancel a job: it ends now where it waits, else its holder is told to stop."""
        await self._require_change(identifier, caller)
        job = await self._store.cancel(identifier, caller.subject)
        if job.state is State.CANCELLED:
            self._relay.nudge(job.id)
        elif job.state in HELD and job.lease:
            await self._bus.wish_cancel(job.lease.holder, job.id)
        return job

    async def reopen(self, identifier: str, caller: Identity) -> Job:
        """Run a job that is over once more, as a new series."""
        await self._require_change(identifier, caller)
        job = await self._store.reopen(identifier, caller.subject)
        self._relay.nudge(job.id)
        return job

    async def _require_change(self, identifier: str, caller: Identity) -> None:
        job = await self.get(identifier, caller)
        if caller.may(Action.CHANGE_ALL) or (caller.may(Action.CHANGE_OWN) and job.owner == caller.subject):
            return
        raise ForbiddenError("your roles do not allow you to change this job")


def scope(caller: Identity) -> str | None:
    """Return whose jobs the caller may see: their own, or (None) everybody's."""
    if caller.may(Action.SEE_ALL):
        return None
    if caller.may(Action.SEE_OWN):
        return caller.subject
    raise NotFoundError
