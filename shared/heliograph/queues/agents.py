"""What agents may do with a pull queue: take its jobs, report on them, keep them, give them back.

Every way in, native or of a dialect, goes through here.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from heliograph.bus.port import Bus, BusUnavailableError
from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity, Scope
from heliograph.identity.roles import Action
from heliograph.jobs.model import Job
from heliograph.jobs.progress import progress_event
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store.agents import AgentStore, Beat, Report
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.queues.claiming import Claim, Claiming
from heliograph.queues.model import Delivery
from heliograph.queues.reports import Step, Told, finish_of, step, why_lost
from heliograph.queues.store import QueueStore

TELL_SECONDS = 1.0  # for the event of a progress, which may be lost; its reporter waits no longer
_TRIES = 5  # each loses to another change of the same job in the same millisecond
_RELEASE = "release"


class Agents:
    """Serves agents.

    Parameters
    ----------
    queues, claiming, store
        What is declared, who serves claims, and the jobs.
    relay, bus
        Told of every change, and of progress.
    is_backend
        Whether workers serve a queue of this name.
    """

    def __init__(
        self, queues: QueueStore, claiming: Claiming, store: AgentStore, relay: Relay, bus: Bus,
        is_backend: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._queues = queues
        self.claiming = claiming
        self._store = store
        self._relay = relay
        self._bus = bus
        self._is_backend = is_backend

    async def claim(self, claim: Claim, caller: Identity, wanted: Callable[[], Awaitable[bool]]) -> list[Job]:
        """Hand out the next jobs of a queue, each to one agent only; none where it is empty, full or paused.

        The same agent gets for the same key the jobs that it still holds under it, however many times at once it asks.
        ``wanted`` is asked before any job is taken, so that none is for an agent that has gone.

        Raises
        ------
        NotFoundError
            There is no such queue, or the caller's token is for another one.
        ConflictError
            A backend has taken the queue's name: what waits under it is for workers.
        """
        if claim.queue != (_scope(caller).queue or claim.queue):
            raise NotFoundError(f"there is no queue {claim.queue}")
        queue = await self._queues.get(claim.queue)
        if self._is_backend(queue.name):
            raise ConflictError(f"workers serve {queue.name}: a backend has taken the name")
        # The subject comes first: what an agent calls itself is its own choice.
        return await self.claiming.claim(claim, queue, f"{caller.subject}/{claim.agent}", wanted)

    async def report(self, identifier: str, token: str, told: Told, caller: Identity) -> Job:
        """Take a report under the lease of this token, and return the job.

        Raises
        ------
        NotFoundError
            There is no such job in a pull queue of the caller's.
        ConflictError
            The lease is lost, or the report is out of order; nothing is changed.
        """
        report = Report(token, told.digest)
        for _ in range(_TRIES):
            standing = await self._store.standing(identifier, _scope(caller))
            what = step(standing, report, told.state)
            if what is Step.KNOWN:
                return standing.job
            if job := await self._make(what, standing.job, report, told):
                return job
        raise ConflictError("the job keeps changing; try again")

    async def heartbeat(self, identifier: str, token: str, caller: Identity) -> Beat:
        """Renew a lease; raises as ``report`` does."""
        scope = _scope(caller)
        beat = await self._store.renew(identifier, token, scope)
        if beat is None:
            raise ConflictError(why_lost((await self._store.standing(identifier, scope)).job))
        return beat

    async def release(self, identifier: str, token: str | None, caller: Identity) -> Job:
        """Queue a job again as if it had not been handed out; raises as ``report`` does.

        Who manages queues needs no token. An agent may not give back what is handed out once at most.
        """
        scope = _scope(caller)
        if token is None:
            return await self._take_back(identifier, caller)
        standing = await self._store.standing(identifier, scope)
        report = Report(token, _RELEASE)
        if step(standing, report, None) is Step.KNOWN:
            return standing.job
        if await self._is_handed_out_once(standing.job):
            raise ConflictError(
                "this queue hands out each job once at most: report how it ended; a queue manager can release it"
            )
        job = await self._store.finish(identifier, Finish(State.QUEUED, hands_back=True), report, _holder(standing.job))
        if job is None:
            raise ConflictError(why_lost((await self._store.standing(identifier, scope)).job))
        self._relay.nudge(identifier)
        return job

    async def _make(self, what: Step, job: Job, report: Report, told: Told) -> Job | None:
        if what is Step.PROGRESS:
            made = await self._store.progress(job.id, report.token, told.progress, job.state)
            if made is not None:
                await self._tell(made, told.progress)
            return made
        if what is Step.BEGIN:
            made = await self._store.begin(job.id, report.token, told.progress, _holder(job))
        else:
            chance = random.random()  # noqa: S311 - jitter
            finish = finish_of(told, job.attempt, chance, is_wished=job.cancel_requested)
            made = await self._store.finish(job.id, finish, report, _holder(job))
        if made is not None:
            self._relay.nudge(job.id)
        return made

    async def _tell(self, job: Job, progress: Progress) -> None:
        if progress == Progress():
            return  # a mere sign of life
        with suppress(BusUnavailableError, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                await self._bus.publish(progress_event(job, progress, _holder(job)))

    async def _take_back(self, identifier: str, caller: Identity) -> Job:
        if not caller.may(Action.MANAGE_QUEUES):
            raise InvalidInputError.of("lease_token", "this is required; only a queue manager releases without")
        job = await self._store.take_back(identifier, caller.subject)
        if job is None:
            standing = await self._store.standing(identifier)
            raise ConflictError(f"nobody holds the job: it is {standing.job.state}")
        self._relay.nudge(identifier)
        return job

    async def _is_handed_out_once(self, job: Job) -> bool:
        try:
            return (await self._queues.get(job.queue)).delivery is Delivery.AT_MOST_ONCE
        except NotFoundError:
            return False


def _scope(caller: Identity) -> Scope:
    """Return where the caller may work."""
    caller.require(Action.WORK)
    return Scope(queue=caller.queue)


def _holder(job: Job) -> str:
    assert job.lease, "a job that nobody holds"
    return job.lease.holder
