"""Jobs in the hands of agents: found under a claim's key, reported on, kept alive, given back.

As for workers, the token of the lease is the fence. What ends an agent's hold leaves the digest of the report with the
job, so that the same report, sent again because its answer was lost, is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from heliograph.errors import NotFoundError
from heliograph.identity.identity import EVERYTHING, Scope
from heliograph.ids import new_token
from heliograph.jobs.model import Job
from heliograph.jobs.states import HELD, State
from heliograph.jobs.store.apply import apply_change
from heliograph.jobs.store.changes import ChangePlan, to
from heliograph.jobs.store.claims import DEADLINE, Finish, Progress, finishing
from heliograph.jobs.store.documents import to_job
from heliograph.jobs.store.expressions import NOW, Expression, after, literal
from heliograph.jobs.store.indexes import JOBS
from heliograph.jobs.store.jobs import VIEW, within
from heliograph.storage import Database
from heliograph.storage.errors import translated

# Only what no worker takes: a backend's jobs are its workers'. Null stands for "has none" as well.
_OF_AGENTS: Mapping[str, Any] = {"backend": None}
_RENEWED = after("$lease.ms")  # null, as it was, where a lease has no end


_SEPARATOR, _BEYOND = ":", ";"  # the second comes next


def request_word(request: str, number: int) -> str:
    """Return the word under which a job of a repeatable claim is found; ``number`` says which of up to 1,000."""
    return f"{request}{_SEPARATOR}{number:03}"


def rank(job: Job) -> tuple[int, str]:
    """Return what orders the jobs of a claim: by priority, then age."""
    return -job.priority, job.id


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it was sent: the token of the lease under which it was, and the digest of what it said."""

    token: str
    digest: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A job, and the last report that ended an agent's hold on it."""

    job: Job
    reported: Report | None


@dataclass(frozen=True, slots=True)
class Beat:
    """What a holder is told: until when the lease is theirs (None: until they end it), and whether to stop.

    At ``deadline`` the time of the job is over, however often the lease is renewed; None: it has no limit.
    """

    until: datetime | None
    cancel_requested: bool
    deadline: datetime | None


class AgentStore:
    """Takes what agents tell of the jobs that they hold."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def claimed_under(self, request: str) -> dict[str, Job]:
        """Return the jobs that are held under the words of one claim (``request_word``)."""
        with translated():
            found = self._jobs.find(_held_under(request), VIEW)
            return {document["lease"]["request"]: to_job(document) async for document in found}

    async def give_back(self, request: str, tokens: Iterable[str], by: str) -> list[str]:
        """Queue again, as if they had not been handed out, what is held under one claim and these tokens.

        Returns the ids of the jobs.
        """
        where = {**_held_under(request), "lease.token": {"$in": list(tokens)}}
        with translated():
            found = await self._jobs.find(where, {"lease.token": 1}).to_list()
        plan = finishing(Finish(State.QUEUED, hands_back=True), by)
        return [
            document["_id"]
            for document in found
            if await self._change(_held(document["_id"], document["lease"]["token"]), replace(plan, id=new_token()))
        ]

    async def standing(self, identifier: str, scope: Scope = EVERYTHING) -> Standing:
        """Return a job of a pull queue; ``NotFoundError`` where there is none within the scope."""
        with translated():
            found = await self._jobs.find_one({"_id": identifier, **within(scope), **_OF_AGENTS}, VIEW)
        if found is None:
            raise NotFoundError(f"there is no job {identifier} in a pull queue")
        reported = found.get("reported")
        return Standing(to_job(found), Report(reported["token"], reported["digest"]) if reported else None)

    async def begin(self, identifier: str, token: str, progress: Progress, by: str) -> Job | None:
        """Let a claimed job be running, its time counted from now; None where it is not, or not under this lease."""
        renewed = {"$mergeObjects": ["$lease", {"until": _RENEWED, "deadline": DEADLINE}]}
        fields = {"started_at": NOW, "lease": renewed, **_values(progress)}
        where = {**_held(identifier, token), "state": State.CLAIMED.value}
        return await self._change(where, ChangePlan(by, to(State.RUNNING), fields))

    async def progress(self, identifier: str, token: str, progress: Progress, state: State) -> Job | None:
        """Overwrite where a job in this state stands and renew its lease; None where the lease is lost."""
        update = [{"$set": {"updated_at": NOW, "lease.until": _RENEWED, **_values(progress)}}]
        where = {**_held(identifier, token), "state": state.value}
        with translated():
            found = await self._jobs.find_one_and_update(where, update, VIEW, return_document=True)
        return to_job(found) if found else None

    async def finish(self, identifier: str, finish: Finish, report: Report, by: str) -> Job | None:
        """End an agent's hold on a job; None where the lease is lost."""
        plan = finishing(finish, by)
        reported = {"token": literal(report.token), "digest": literal(report.digest)}
        plan = replace(plan, fields={**plan.fields, "reported": reported})
        return await self._change(_held(identifier, report.token), plan)

    async def take_back(self, identifier: str, by: str) -> Job | None:
        """Queue a job again whoever holds it, as if it had not been handed out; None where nobody does."""
        plan = finishing(Finish(State.QUEUED, hands_back=True), by)
        return await self._change({"_id": identifier, "state": {"$in": list(HELD)}, **_OF_AGENTS}, plan)

    async def renew(self, identifier: str, token: str, scope: Scope = EVERYTHING) -> Beat | None:
        """Renew a lease on a job within a scope; None where it is lost."""
        where = {**_held(identifier, token), **within(scope)}
        seen = {"$cond": [{"$eq": ["$lease.ms", None]}, NOW, "$updated_at"]}  # of a lease without end, the only sign
        wanted = {"lease.until": 1, "lease.deadline": 1, "cancel_requested": 1}
        with translated():
            found = await self._jobs.find_one_and_update(
                where, [{"$set": {"lease.until": _RENEWED, "updated_at": seen}}], wanted, return_document=True
            )
        if found is None:
            return None
        return Beat(found["lease"]["until"], found["cancel_requested"], found["lease"].get("deadline"))

    async def _change(self, where: Mapping[str, Any], plan: ChangePlan) -> Job | None:
        changed = await apply_change(self._jobs, where, plan)
        return to_job(changed) if changed else None


def _held(identifier: str, token: str) -> dict[str, Any]:
    return {"_id": identifier, "lease.token": token, "state": {"$in": list(HELD)}, **_OF_AGENTS}


def _held_under(request: str) -> dict[str, Any]:
    words = {"$gte": request_word(request, 0), "$lt": request + _BEYOND}
    return {"lease.request": words, "state": {"$in": list(HELD)}}


def _values(progress: Progress) -> dict[str, Expression]:
    named = {
        "progress": progress.fraction, "stage": progress.stage, "eta_seconds": progress.eta_seconds,
        "message": progress.message,
    }  # fmt: skip
    return {name: literal(value) for name, value in named.items() if value is not None}
