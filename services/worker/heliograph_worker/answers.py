"""What a running job asks its worker, and who answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from heliograph.backends.errors import FatalError, TransientError, UsageError
from heliograph.callbacks import Callbacks
from heliograph.errors import HeliographError
from heliograph.jobs.children import Children
from heliograph.jobs.model import Job
from heliograph.jobs.states import OVER, State
from heliograph.jobs.store import ClaimStore
from heliograph.storage import StoreUnavailableError
from heliograph_worker.protocol import Topic
from heliograph_worker.secrets import JobSecrets

_log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
LONGEST_CALLBACKS = timedelta(days=30)  # for a job without a time limit


@dataclass(frozen=True, slots=True)
class Answerers:
    """Who knows the answers; one set for each worker. ``waits`` is told which attempts wait for their children."""

    claims: ClaimStore
    children: Children | None
    callbacks: Callbacks | None
    waits: Callable[[str, bool], None]


class Answers:
    """Answers the questions of one attempt."""

    def __init__(
        self, job: Job, answerers: Answerers, timeout: timedelta | None, secrets: JobSecrets | None = None
    ) -> None:  # fmt: skip
        assert job.lease, "only a claimed job asks"
        self._job = job
        self._token = job.lease.token
        self._by = answerers
        self._secrets = secrets
        self._lasts = timeout or LONGEST_CALLBACKS

    async def answer(self, topic: Topic, content: Any) -> Any:
        """Return the answer, a JSON value, however long the database takes.

        Raises
        ------
        BackendError
            Why there is none.
        """
        while True:
            try:
                return await self._answer(topic, content)
            except StoreUnavailableError:
                _log.debug("a job's question waits for the database", job=self._job.id, topic=topic)
                await asyncio.sleep(RETRY_SECONDS)

    async def _answer(self, topic: Topic, content: Any) -> Any:
        match topic:
            case Topic.REMEMBER:
                if not await self._by.claims.remember(self._job.id, self._token, content):
                    raise TransientError("the job is somebody else's by now")
                return None
            case Topic.SUBMIT:
                return await self._submit(content["number"], content["body"])
            case Topic.CHILDREN:
                return await self._states(content)
            case Topic.CHILD:
                return await self._child(content)
            case Topic.CALLBACK_URL:
                return self._callbacks().url_for(self._job, self._token, datetime.now(UTC) + self._lasts)
            case Topic.NEXT_CALLBACK:
                return await self._next_callback(content)
            case Topic.STOP_REASON:
                raise FatalError("this is for the execution to answer")  # which does

    async def _submit(self, number: int, body: dict[str, Any]) -> str:
        withheld = self._secrets.mask if self._secrets else None
        try:
            return (await self._children().submit(self._job, number, body, withheld=withheld)).id
        except StoreUnavailableError:
            raise
        except HeliographError as error:
            raise UsageError(error.message) from error

    async def _states(self, ids: list[str]) -> list[State]:
        try:
            found = await self._children().states(self._job, ids)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self._by.waits(self._token, any(state not in OVER for state in found))
        return found

    async def _child(self, child: str) -> dict[str, Any]:
        self._by.waits(self._token, False)
        try:
            found = await self._children().look_at(self._job, child)
        except ValueError as error:
            raise UsageError(str(error)) from error
        why = found.error
        told = {"kind": why.kind, "message": why.message, "traceback": why.traceback} if why else None
        return {"id": found.id, "state": found.state, "result": found.result, "error": told}

    async def _next_callback(self, seen: int) -> dict[str, Any] | None:
        found = await self._callbacks().next(self._job, self._token, seen)
        if found is None:
            return None
        number, callback = found
        return {"number": number, "body": dict(callback.body), "at": callback.at.isoformat()}

    def _callbacks(self) -> Callbacks:
        if self._by.callbacks is None:
            raise FatalError(
                "no callback address can be signed here: the operator of this worker sets HELIOGRAPH_LINK_KEYS"
            )
        return self._by.callbacks

    def _children(self) -> Children:
        if self._by.children is None:
            raise FatalError("jobs cannot submit jobs on this worker: its operator sets HELIOGRAPH_IDENTITY_KEY")
        return self._by.children
