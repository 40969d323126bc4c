"""Jobs that wait until others have ended: let go, or ended themselves, once that has come.

A follower ``waits_for`` those of its predecessors that are not over as far as anybody noticed. Each release is made of
conditional updates that find nothing when they are repeated, so that it does not matter who makes it, nor how often.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliograph.abreast import abreast
from heliograph.jobs.model import AfterCondition, JobError
from heliograph.jobs.states import ACTIVE, ErrorKind, State
from heliograph.jobs.store.apply import apply_change
from heliograph.jobs.store.changes import ChangePlan, to
from heliograph.jobs.store.documents import error_document
from heliograph.jobs.store.expressions import NOW, Expression, literal
from heliograph.jobs.store.indexes import JOBS, WAITS_FOR
from heliograph.storage import Database, Document
from heliograph.storage.errors import translated

BY = "reconciler"
PREDECESSORS_AT_ONCE = 500
FOLLOWERS_AT_ONCE = 500  # 0.1 s of the server's time; a single update of 100,000 would outlast the socket
SWEPT = 5_000  # ids of predecessors looked up by one sweep
_READ_AT_ONCE = 100  # followers, each of up to 1,000 ids
_ENDINGS_AT_ONCE = 16
_WAITING = {"state": State.QUEUED.value, "waits_for.0": {"$exists": True}}
_WORDS = {State.FAILED: "failed", State.CANCELLED: "was cancelled"}


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: jobs that it ended, and queues in which jobs may be claimed that could not before."""

    ended: tuple[str, ...] = ()
    queues: frozenset[str] = frozenset()

    def __add__(self, other: "Released") -> "Released":
        """Return what both did."""
        return Released(self.ended + other.ended, self.queues | other.queues)


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """How predecessors ended: those that are done, and those that are not, each with the words for it."""

    done: frozenset[str]
    otherwise: Mapping[str, str]

    @property
    def over(self) -> frozenset[str]:
        return self.done | self.otherwise.keys()

    def obstacle(self, follower: Mapping[str, Any]) -> str | None:
        """Return the predecessor for whose sake a follower can never run; None where it may."""
        if follower["after_condition"] == AfterCondition.OVER:
            return None
        return next((each for each in follower["waits_for"] if each in self.otherwise), None)


class FollowerStore:
    """Releases what waits for jobs that are over."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)
        self._beyond = ""  # the predecessor behind which the next sweep begins, in the order of ids

    async def release(self, ended: Iterable[str]) -> Released:
        """Release what waits for these jobs, which are over or gone; one that is active again is passed over.

        A follower for which nothing is left to wait may be claimed, from its ``not_before`` on. One whose condition is
        ``done`` ends ``cancelled`` where a predecessor ended otherwise, or was removed before anybody looked. Where
        nobody waits, this is one look into an index that is all but empty.
        """
        released = Released()
        unique = list(dict.fromkeys(ended))
        for begin in range(0, len(unique), PREDECESSORS_AT_ONCE):
            some = unique[begin : begin + PREDECESSORS_AT_ONCE]
            followers = await self._followers(some)
            if not followers:
                continue
            outcomes = await self._outcomes(some)
            while outcomes.over and (followers := await self._followers(outcomes.over)):
                released += await self._release(followers, outcomes)
        return released

    async def release_over(self, jobs: Iterable[str]) -> Released:
        """Release what waits for those of these jobs that are over or gone, if any is."""
        wanted = set(jobs)
        where = {"_id": {"$in": list(wanted)}, "state": {"$in": list(ACTIVE)}}
        with translated():
            active = {document["_id"] async for document in self._jobs.find(where, {"_id": 1})}
        return await self.release(wanted - active)

    async def sweep(self) -> Released:
        """Release what earlier processes did not get to.

        A sweep looks at a part of what waits, and the next goes on from there, so that each costs the same however
        much waits. The predecessors are read in the order of their ids, as the index has them, and with each follower
        all of its predecessors; one that 100,000 wait for is passed in one step.
        """
        where = {**_WAITING, "waits_for": {"$gt": self._beyond}}
        found: set[str] = set()
        looked_at = 0
        position = ""
        with translated():
            cursor = self._jobs.find(where, {"waits_for": 1}, hint=WAITS_FOR, batch_size=_READ_AT_ONCE)
            async for follower in cursor:
                looked_at += len(follower["waits_for"])
                found.update(follower["waits_for"])
                if looked_at >= SWEPT:
                    position = min(each for each in follower["waits_for"] if each > self._beyond)
                    break
            await cursor.close()
        self._beyond = position
        return await self.release_over(found) if found else Released()

    async def _followers(self, predecessors: Iterable[str]) -> list[Document]:
        where = {**_WAITING, "waits_for": {"$in": list(predecessors)}}
        with translated():
            few = self._jobs.find(where, {"waits_for": 1, "after_condition": 1, "queue": 1}).limit(FOLLOWERS_AT_ONCE)
            return list(await few.to_list(FOLLOWERS_AT_ONCE))

    async def _outcomes(self, predecessors: Sequence[str]) -> _Outcomes:
        with translated():
            found = self._jobs.find({"_id": {"$in": list(predecessors)}}, {"state": 1})
            states = {document["_id"]: State(document["state"]) async for document in found}
        return _Outcomes(
            frozenset(job for job, state in states.items() if state is State.DONE),
            {job: _WORDS[states[job]] if job in states else "is gone"
             for job in predecessors if states.get(job) not in {*ACTIVE, State.DONE}},
        )  # fmt: skip

    async def _release(self, followers: Sequence[Document], outcomes: _Outcomes) -> Released:
        doomed = [(follower, job) for follower in followers if (job := outcomes.obstacle(follower))]
        doomed_ids = {follower["_id"] for follower, _ in doomed}
        others = [follower for follower in followers if follower["_id"] not in doomed_ids]
        over = outcomes.over & {each for follower in others for each in follower["waits_for"]}
        if others:
            where = {"_id": {"$in": [follower["_id"] for follower in others]}, **_WAITING}
            with translated():
                await self._jobs.update_many(where, _without(sorted(over)))

        async def end(doom: tuple[Document, str]) -> str | None:
            return await self._end(doom[0]["_id"], doom[1], outcomes.otherwise[doom[1]])

        ended = await abreast(end, doomed, most=_ENDINGS_AT_ONCE)
        free = frozenset(follower["queue"] for follower in others if over.issuperset(follower["waits_for"]))
        return Released(tuple(job for job in ended if job), free)

    async def _end(self, follower: str, predecessor: str, how: str) -> str | None:
        error = JobError(ErrorKind.CANCELLED, f"the job {predecessor}, which it waits for, {how}")
        plan = ChangePlan(BY, to(State.CANCELLED), {"error": literal(error_document(error))})
        # Reopened meanwhile, it is queued as well, and waits for nobody.
        where = {"_id": follower, "state": State.QUEUED.value, "waits_for": predecessor}
        return follower if await apply_change(self._jobs, where, plan) else None


def _without(over: Sequence[str]) -> list[dict[str, Expression]]:
    """Return the update that takes these out of what a job waits for, and lets it be claimed where that was all."""
    left = {"$filter": {"input": "$waits_for", "cond": {"$not": [{"$in": ["$$this", literal(over)]}]}}}
    too_early = {"$and": [{"$eq": [{"$type": "$not_before"}, "date"]}, {"$gt": ["$not_before", NOW]}]}
    is_due = {"$and": [{"$eq": ["$waits_for", literal([])]}, {"$not": [too_early]}]}
    return [{"$set": {"waits_for": left, "updated_at": NOW}}, {"$set": {"due": is_due}}]
