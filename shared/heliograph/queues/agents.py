"""What agents may do with a pull queue: take its jobs, report on them, keep them, give them back.

Every way in, native or of a dialect, goes through here.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from heliograph.bus.port import Bus, BusUnavailableError
from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity, Scope
from heliograph.identity.roles import Action
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Job
from heliograph.jobs.progress import progress_event
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store.agent_claims import AgentClaims
from heliograph.jobs.store.agents import AgentStore, Beat, Report, rank, request_word
from heliograph.jobs.store.claims import ClaimStore, Finish, Progress
from heliograph.json_text import canonical_json
from heliograph.queues.model import Delivery, Queue
from heliograph.queues.reports import Step, Told, finish_of, step, why_lost
from heliograph.queues.store import QueueStore
from heliograph.storage import DuplicateError, StoreUnavailableError

TELL_SECONDS = 1.0  # for the event of a progress, which may be lost; its reporter waits no longer
_MOST_ENDED = 100  # jobs that one claim may find ended, cancelled or too late, before it answers
# From how many on jobs are taken at once: among eight agents, 5 take 81 ms one by one and 89 at once, 10 236 and 119.
_SEVERAL = 6
_LOOKS = 3  # at several jobs at once; where others take them, the server is left to choose
_TRIES = 5  # each loses to another change of the same job in the same millisecond
_RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Claim:
    """What an agent asks for: up to ``most`` jobs, each for ``lease``, or, where that is None, as the queue says.

    ``agent`` is what it calls itself; ``key`` makes the claim repeatable.
    """

    queue: str
    agent: str
    most: int = 1
    lease: timedelta | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Taker:
    """Who takes: under which name, under which repeatable claim (None: under none), and whether it is still there."""

    holder: str
    request: str | None
    wanted: Callable[[], Awaitable[bool]]

    def words(self, most: int) -> list[str | None]:
        """Return the words under which so many jobs are found again."""
        return [request_word(self.request, number) if self.request else None for number in range(most)]


class Agents:
    """Serves agents.

    Parameters
    ----------
    queues, claims, several, store
        What is declared, and the jobs.
    relay, bus
        Told of every change, and of progress.
    is_backend
        Whether workers serve a queue of this name.
    """

    def __init__(
        self, queues: QueueStore, claims: ClaimStore, several: AgentClaims, store: AgentStore, relay: Relay, bus: Bus,
        is_backend: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._queues = queues
        self._claims = claims
        self._several = several
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of declared queues: few
        self._store = store
        self._relay = relay
        self._bus = bus
        self._is_backend = is_backend

    async def claim(self, claim: Claim, caller: Identity, wanted: Callable[[], Awaitable[bool]]) -> list[Job]:
        """Hand out the next jobs of a queue, each to one agent only; none where it is empty, full or paused.

        The same agent gets for the same key the jobs that it still holds under it. ``wanted`` is asked before any job
        is taken, so that none is for an agent that has gone.

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
        holder = f"{caller.subject}/{claim.agent}"
        request = _request(queue.name, holder, claim.key)
        if request and (known := await self._store.claimed_under(request)):
            return known
        if queue.paused:
            return []
        taken: list[Job] = []
        try:
            await self._fill(taken, queue, claim, _Taker(holder, request, wanted))
        except StoreUnavailableError:
            if not taken:  # else they are this agent's, and nobody else would tell it so
                raise
        except DuplicateError:  # the same claim, sent twice, is served twice at this moment: the other one took them
            if request is None:
                raise
            return await self._store.claimed_under(request)
        return sorted(taken, key=rank)

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

    async def _fill(self, taken: list[Job], queue: Queue, claim: Claim, taker: _Taker) -> None:
        """Add to ``taken`` what the claim gets."""
        words: Sequence[str | None] = taker.words(claim.most)
        if claim.most >= _SEVERAL and queue.limits == Limits():
            async with self._turns[queue.name]:  # two that look at once would see the same jobs
                words = await self._take_several(taken, queue, claim, taker, words)
        await self._take_each(taken, queue, claim, taker, words)

    async def _take_several(
        self, taken: list[Job], queue: Queue, claim: Claim, taker: _Taker, words: Sequence[str | None]
    ) -> Sequence[str | None]:
        """Take jobs several at a time; return the words of those that are still to be looked for."""
        if taker.request and (known := await self._store.claimed_under(taker.request)):  # while this one waited
            taken += known
            return ()
        for _ in range(_LOOKS):
            if not words or not await taker.wanted():
                return ()
            take = await self._several.take(
                queue.name, taker.holder, claim.lease or queue.lease, words,
                is_last=queue.delivery is Delivery.AT_MOST_ONCE,
            )  # fmt: skip
            for identifier in take.changed:
                self._relay.nudge(identifier)
            taken += take.jobs
            if take.is_end:
                return ()
            words = take.left
        return words

    async def _take_each(
        self, taken: list[Job], queue: Queue, claim: Claim, taker: _Taker, words: Sequence[str | None]
    ) -> None:
        """Take jobs one by one, each under one of these words, as the server chooses."""
        left = list(words)
        for _ in range(len(words) + _MOST_ENDED):
            if not left or not await taker.wanted():
                return
            job = await self._claims.claim(
                [queue.name], taker.holder, claim.lease or queue.lease, limits={queue.name: queue.limits},
                into=State.CLAIMED, request=left[0], is_last=queue.delivery is Delivery.AT_MOST_ONCE,
            )  # fmt: skip
            if job is None:
                return
            self._relay.nudge(job.id)
            if job.state is State.CLAIMED:
                taken.append(job)
                del left[0]

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


def _request(queue: str, holder: str, key: str | None) -> str | None:
    """Return what tells a repeatable claim from all others; None for one that is not."""
    return None if key is None else sha256(canonical_json([queue, holder, key]).encode()).hexdigest()
