"""One attempt at a job: what its backend tells is passed on, what it makes is kept, and its end is written."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from heliograph import faults
from heliograph.backends import Backend
from heliograph.bus.port import Bus, BusUnavailableError
from heliograph.errors import InvalidInputError
from heliograph.jobs.model import Artifact, Job, JobError
from heliograph.jobs.progress import progress_event
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store import ClaimStore, LogStore
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.storage import Files, StoreUnavailableError
from heliograph_worker.answers import Answers
from heliograph_worker.folder import open_artifact
from heliograph_worker.latch import Latch
from heliograph_worker.protocol import Topic
from heliograph_worker.task import Outcome, OutcomeKind, StopReason

_log = structlog.get_logger(__name__)

PROGRESS_SECONDS = 1.0  # progress is told at most this often for each job
RETRY_SECONDS = 1.0
REQUEUE_AT_ONCE = timedelta(0)
HAND_BACK_SECONDS = 5.0  # to say that a job is handed back; its lease running out says it as well
RESULT_SECONDS = 15.0  # for a result to be stored once the worker closes; without it the code runs again
_LOG_CHUNKS = 1 << 20  # more than one attempt has: a log's head and tail are half as many bytes


class Attempt:
    """Takes what a running job tells; an ``Observer``. What the database cannot take now is kept until it can."""

    def __init__(
        self,
        job: Job,
        worker: str,
        claims: ClaimStore,
        logs: LogStore,
        artifacts: Files,
        bus: Bus,
        answers: Answers,
    ) -> None:
        assert job.lease, "only a claimed job is attempted"
        self._answers = answers
        self._job = job
        self._token = job.lease.token
        self._worker = worker
        self._claims = claims
        self._logs = logs
        self._files = artifacts
        self._bus = bus
        self._artifacts: dict[str, Artifact] = {}
        self._told_at = -PROGRESS_SECONDS
        self._untold: Progress | None = None
        self._message: str | None = None
        self._telling: asyncio.Task[None] | None = None
        self._chunks: list[bytes] = []
        # A job that is handed back has an attempt of the same number later: its log follows the first one's.
        self._written = job.seq * _LOG_CHUNKS
        self._writing: asyncio.Task[None] | None = None

    async def progress(
        self, fraction: float | None, stage: str | None, eta_seconds: float | None, message: str | None
    ) -> None:
        """Tell of progress: at once where nothing was told for a second, else the latest of it a second later."""
        self._message = message or self._message
        before = self._untold or Progress()
        self._untold = Progress(
            before.fraction if fraction is None else fraction,
            before.stage if stage is None else stage,
            before.eta_seconds if eta_seconds is None else eta_seconds,
            before.message if message is None else message,
        )
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def log(self, data: bytes) -> None:
        """Keep a piece of the log."""
        self._chunks.append(data)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_log())

    async def artifact(self, name: str, path: Path, media_type: str) -> None:
        """Store a file, however long the database takes; it becomes the job's with the write that ends the attempt."""
        stored = None
        while stored is None:
            try:
                with open_artifact(path) as source:
                    stored = await self._files.put_file(source, name=name, media_type=media_type, job=self._job.id)
            except StoreUnavailableError:
                _log.debug("a file waits for the database", job=self._job.id, name=name)
                await asyncio.sleep(RETRY_SECONDS)
        self._artifacts[name] = Artifact(name, stored.id, media_type, stored.bytes, stored.sha256)

    async def answer(self, topic: Topic, content: Any) -> Any:
        """Answer what the job asks."""
        return await self._answers.answer(topic, content)

    async def end(self, outcome: Outcome, backend: Backend | None, closing: Latch) -> bool:
        """Write the attempt's end, however long the database takes; False where the lease went to somebody else.

        Once the worker closes, it waits for ``RESULT_SECONDS`` at most, and to hand a job back ``HAND_BACK_SECONDS``.

        Raises
        ------
        StoreUnavailableError
            The worker closes, and the database stayed away: the lease runs out, and the job is run again.
        """
        faults.reach(faults.Point.FINISHED_NOT_WRITTEN)
        writing = asyncio.create_task(self._write_end(outcome, backend))
        seconds = HAND_BACK_SECONDS
        try:
            if outcome.reason is not StopReason.SHUTDOWN:
                seconds = RESULT_SECONDS
                await closing.or_done(writing)
            if not writing.done():
                await asyncio.wait({writing}, timeout=seconds)
            if writing.done():
                return writing.result()
            raise StoreUnavailableError(f"the end of the job {self._job.id} could not be written")
        finally:
            for task in filter(None, (writing, self._writing)):
                task.cancel()

    async def _write_end(self, outcome: Outcome, backend: Backend | None) -> bool:
        if self._telling:
            self._telling.cancel()
            await asyncio.wait({self._telling})
        if self._writing:
            await self._writing
        finish = finish_of(outcome, self._job, backend, tuple(self._artifacts.values()))
        finish = replace(finish, message=self._message)  # the last word, which may have come too soon after another
        while True:
            try:
                return await self._claims.finish(self._job.id, self._token, finish, self._worker)
            except InvalidInputError as error:
                finish = Finish(
                    State.FAILED, error=JobError(ErrorKind.FATAL, f"its end cannot be kept: {error.message}")
                )
            except StoreUnavailableError:
                _log.debug("a result waits for the database", job=self._job.id)
                await asyncio.sleep(RETRY_SECONDS)

    async def _tell(self) -> None:
        while self._untold is not None:
            await asyncio.sleep(max(0.0, self._told_at + PROGRESS_SECONDS - time.monotonic()))
            progress, self._untold = self._untold, None
            self._told_at = time.monotonic()
            with contextlib.suppress(StoreUnavailableError, BusUnavailableError):
                if await self._claims.report(self._job.id, self._token, progress):
                    await self._bus.publish(progress_event(self._job, progress, self._worker))

    async def _write_log(self) -> None:
        while self._chunks:
            job, data = self._job, self._chunks[0]
            try:
                await self._logs.append(job.id, job.series, job.attempt, self._token, self._written, data)
            except StoreUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._written += 1
            del self._chunks[0]


def finish_of(outcome: Outcome, job: Job, backend: Backend | None, artifacts: tuple[Artifact, ...]) -> Finish:
    """Decide how an attempt with this outcome ends: for good, or queued again after a while."""
    match outcome.kind:
        case OutcomeKind.DONE:
            return Finish(State.DONE, result=outcome.result, artifacts=artifacts)
        case OutcomeKind.CANCELLED:
            return Finish(State.CANCELLED, artifacts=artifacts)  # the store says why
        case OutcomeKind.STOPPED if outcome.reason is StopReason.SHUTDOWN:
            return Finish(State.QUEUED, artifacts=artifacts, hands_back=True)
        case OutcomeKind.STOPPED:
            error = JobError(ErrorKind.LOST, "its process was told to stop")
            return Finish(State.FAILED, error=error, artifacts=artifacts, retry_after=REQUEUE_AT_ONCE)
        case OutcomeKind.FAILED:
            error = outcome.error or JobError(ErrorKind.FATAL, "the backend failed")
            retry_after = None
            if backend and error.kind in backend.retry.kinds:
                retry_after = backend.retry.delay(job.attempt, random.random())  # noqa: S311 - jitter
            return Finish(State.FAILED, error=error, artifacts=artifacts, retry_after=retry_after)


def timeout_of(job: Job, backend: Backend | None) -> timedelta | None:
    """Return how long this attempt may run: what the submission asks for, at most what the backend allows."""
    allowed = backend.timeout if backend else None
    asked = timedelta(seconds=job.timeout_seconds) if job.timeout_seconds else None
    return min((each for each in (asked, allowed) if each), default=None)


async def fetch_inputs(job: Job, uploads: Files, folder: Path) -> Mapping[str, Path]:
    """Copy a job's input files into ``folder``; returns where each upload lies."""
    places = {}
    for upload in job.inputs:
        about = await uploads.find(upload)
        place = folder / upload / (Path(about.name).name or "upload")
        place.parent.mkdir(exist_ok=True)  # from a try that the database broke off
        with place.open("wb") as target:
            async for chunk in uploads.read(upload):
                await asyncio.to_thread(target.write, chunk)
        places[upload] = place
    return places
