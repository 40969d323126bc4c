"""Claims of agents: the next jobs of a queue, each to one agent, and to a claim that is repeated the same answer.

No job stays held by an agent that was not told of it: what a claim took before it failed, or beside an answer that
another api gave to the same claim, is given back.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

import structlog

from heliograph.errors import HeliographError
from heliograph.ids import new_token
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Job
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store.agent_answers import AnswerStore
from heliograph.jobs.store.agent_claims import AgentClaims
from heliograph.jobs.store.agents import AgentStore, rank, request_word
from heliograph.jobs.store.claims import ClaimStore
from heliograph.json_text import canonical_json
from heliograph.queues.model import Delivery, Queue
from heliograph.queues.store import QueueStore
from heliograph.storage import DuplicateError, StoreUnavailableError

_log = structlog.get_logger()

_MOST_ENDED = 100  # jobs that one claim may find ended, cancelled or too late, before it answers
# From how many on jobs are taken at once: among eight agents, 5 take 81 ms one by one and 89 at once, 10 236 and 119.
_SEVERAL = 6
_LOOKS = 3  # at several jobs at once; where others take them, the server is left to choose
# A turn takes 20 to 120 ms. Who waits for this long is behind an outage, or behind very many, and goes on without.
_TURN_SECONDS = 2.0
BY = "api"  # who gives back what no agent was told of
_PERIOD_SECONDS = 1.0
_KEPT_SECONDS = 60.0  # a write that the server had when the line broke is through long before
_MOST_KEPT = 1_000


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


@dataclass(slots=True)
class _Serving:
    """One claim while it is served: what it may take yet, and what it has taken."""

    claim: Claim
    holder: str
    request: str
    answered: frozenset[str] | None  # what was answered to it before
    wanted: Callable[[], Awaitable[bool]]
    tokens: dict[str, str]  # of the leases, by the words under which jobs are found again
    free: dict[str, str]  # those of them under which nothing is held yet
    jobs: list[Job] = field(default_factory=list)
    is_shared: bool = False  # others, or writes of this one whose answers were lost, took jobs for it too

    def take(self, job: Job, word: str) -> None:
        """Note a job that was taken under a word."""
        self.jobs.append(job)
        del self.free[word]

    def drop(self, word: str) -> None:
        """Note that a job is held under a word already."""
        self.is_shared = True
        del self.free[word]


class Claiming:
    """Serves claims.

    Parameters
    ----------
    queues, claims, several, store, answers
        What is declared, the jobs, and what was answered.
    relay
        Told of every change.
    """

    def __init__(
        self, queues: QueueStore, claims: ClaimStore, several: AgentClaims, store: AgentStore, answers: AnswerStore,
        relay: Relay,
    ) -> None:  # fmt: skip
        self._queues = queues
        self._claims = claims
        self._several = several
        self._store = store
        self._answers = answers
        self._relay = relay
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of declared queues: few
        self._unanswered: dict[str, tuple[_Serving, float]] = {}  # with the time

    async def claim(self, claim: Claim, queue: Queue, holder: str, wanted: Callable[[], Awaitable[bool]]) -> list[Job]:
        """Return what a claim gets from its queue, by rank."""
        request = new_token() if claim.key is None else _request(claim.queue, holder, claim.key)
        tokens = {request_word(request, number): new_token() for number in range(claim.most)}
        serving = _Serving(claim, holder, request, None, wanted, tokens, dict(tokens))
        if claim.key is not None:
            serving.answered = await self._answers.find(request)
            held = await self._store.claimed_under(request)
            if known := _among(held.values(), serving.answered or ()):
                return sorted(known, key=rank)
            serving.is_shared = bool(held)
            serving.free = {word: token for word, token in tokens.items() if word not in held}
        try:
            await self._fill(serving, queue)
            return sorted(await self._answer(serving), key=rank)
        except BaseException:
            self._unanswered[new_token()] = (serving, time.monotonic())
            if len(self._unanswered) > _MOST_KEPT:
                del self._unanswered[next(iter(self._unanswered))]
            raise

    async def run(self) -> None:
        """Give back, until cancelled, what was taken for claims that failed."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                await self.settle()
            except StoreUnavailableError:
                _log.debug("what unanswered claims took is given back later")
            except Exception:  # noqa: BLE001 - a defect in one claim must not end the upkeep of all
                _log.exception("what unanswered claims took could not be given back, goes on")

    async def settle(self) -> None:
        """Give back what was taken for claims that failed, as far as nobody else answers for it.

        A claim with a key may be repeated, and is then answered with what it took; only what a repeat was answered
        without is given back.
        """
        for name, (serving, since) in list(self._unanswered.items()):
            if serving.claim.key is None:
                await self._give_back(serving, None)
            elif (answer := await self._answers.find(serving.request)) not in (None, serving.answered):
                await self._give_back(serving, answer)
            if time.monotonic() - since > _KEPT_SECONDS:
                self._unanswered.pop(name, None)

    async def _answer(self, serving: _Serving) -> Sequence[Job]:
        """Return what a claim is answered with: what was taken for it, or what somebody else has answered meanwhile."""
        claim = serving.claim
        jobs: Sequence[Job] = serving.jobs
        if serving.is_shared or (claim.key is not None and len(jobs) < claim.most):
            jobs = list((await self._store.claimed_under(serving.request)).values())
        if claim.key is None or claim.most == 1 or not jobs:  # one job is the only one under its word
            return jobs
        if await self._answers.give(serving.request, _tokens(jobs), serving.answered):
            return jobs
        answer = await self._answers.find(serving.request)
        await self._give_back(serving, answer)
        return _among((await self._store.claimed_under(serving.request)).values(), answer or ())

    async def _give_back(self, serving: _Serving, answer: frozenset[str] | None) -> None:
        """Queue again what was taken here and what the answer does not tell of."""
        untold = set(serving.tokens.values()).difference(answer or ())
        for identifier in await self._store.give_back(serving.request, untold, BY):
            _log.info("a job that no agent was told of is queued again", job=identifier)
            self._relay.nudge(identifier)

    async def _fill(self, serving: _Serving, queue: Queue) -> None:
        """Take what the claim gets."""
        if len(serving.free) >= _SEVERAL and _may_take_several(queue):
            async with _turn(self._turns[queue.name]):  # two that look at once would see the same jobs
                queue = await self._queues.get(queue.name)  # as it is after the wait
                if _may_take_several(queue):
                    await self._take_several(serving, queue)
        if queue.paused:
            return
        try:
            await self._take_each(serving, queue)
        except HeliographError:
            raise
        except Exception as error:
            # What comes first cannot be handed out. Several at a time, what comes after it is; where there are limits
            # the agent gets at least what is its own already.
            if not serving.jobs and not _may_take_several(queue):
                raise
            _log.warning("a job cannot be handed out", queue=queue.name, why=repr(error))
            if _may_take_several(queue):
                await self._take_several(serving, queue)

    async def _take_several(self, serving: _Serving, queue: Queue) -> None:
        """Take jobs several at a time, as long as that goes well."""
        for _ in range(_LOOKS):
            if not serving.free or not await serving.wanted():
                return
            take = await self._several.take(
                queue.name, serving.holder, serving.claim.lease or queue.lease, serving.free,
                is_last=queue.delivery is Delivery.AT_MOST_ONCE,
            )  # fmt: skip
            for identifier in take.changed:
                self._relay.nudge(identifier)
            for word, job in take.jobs.items():
                serving.take(job, word)
            for word in take.doubled:
                serving.drop(word)
            if take.is_end:
                return

    async def _take_each(self, serving: _Serving, queue: Queue) -> None:
        """Take jobs one by one, as the server chooses."""
        for _ in range(len(serving.free) + _MOST_ENDED):
            if not serving.free or not await serving.wanted():
                return
            word, token = next(iter(serving.free.items()))
            try:
                job = await self._claims.claim(
                    [queue.name], serving.holder, serving.claim.lease or queue.lease,
                    limits={queue.name: queue.limits}, into=State.CLAIMED, request=word,
                    is_last=queue.delivery is Delivery.AT_MOST_ONCE, token=token,
                )  # fmt: skip
            except DuplicateError:
                serving.drop(word)
                continue
            if job is None:
                return
            self._relay.nudge(job.id)
            if job.state is State.CLAIMED:
                serving.take(job, word)


@asynccontextmanager
async def _turn(turn: asyncio.Lock) -> AsyncIterator[None]:
    """Wait for a turn, but not for long."""
    has_come = False
    with suppress(TimeoutError):
        async with asyncio.timeout(_TURN_SECONDS):
            has_come = await turn.acquire()
    try:
        yield
    finally:
        if has_come:
            turn.release()


def _may_take_several(queue: Queue) -> bool:
    return not queue.paused and queue.limits == Limits()


def _tokens(jobs: Iterable[Job]) -> list[str]:
    return [job.lease.token for job in jobs if job.lease]


def _among(jobs: Iterable[Job], tokens: Container[str]) -> list[Job]:
    return [job for job in jobs if job.lease and job.lease.token in tokens]


def _request(queue: str, holder: str, key: str) -> str:
    """Return what tells a repeatable claim from all others."""
    return sha256(canonical_json([queue, holder, key]).encode()).hexdigest()
