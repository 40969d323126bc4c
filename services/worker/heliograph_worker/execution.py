"""One attempt in one child process: from sending the task to exactly one outcome."""

import asyncio
import json
import os
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import structlog

from heliograph.backends.errors import BackendError, FatalError
from heliograph.backends.failures import MOST_TOLD, clean, ran_too_long
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.folder import Folder
from heliograph_worker.latch import Latch
from heliograph_worker.logs import LogReader
from heliograph_worker.process import ChildProcess, describe_end
from heliograph_worker.protocol import (
    Answer,
    ArtifactMade,
    Progress,
    ProtocolError,
    Question,
    Raised,
    Returned,
    Run,
    Topic,
    frame,
)
from heliograph_worker.reporting import ArtifactDelivery, ProgressReports
from heliograph_worker.task import Observer, Outcome, OutcomeKind, StopReason, Task
from heliograph_worker.telling import Telling

_log = structlog.get_logger(__name__)


class Stop:
    """A wish to stop an attempt; the first reason counts, but a lost lease outdoes all others."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.asked = Latch()
        self.at_once = Latch()

    def ask(self, reason: StopReason) -> None:
        """Wish it."""
        if self.reason is None or reason is StopReason.LOST:
            self.reason = reason
        self.asked.set()
        if reason is StopReason.LOST:
            self.at_once.set()

    def outcome(self) -> Outcome:
        """Return what comes of an attempt that was stopped."""
        if self.reason is StopReason.CANCELLED:
            return Outcome(OutcomeKind.CANCELLED)
        return Outcome(OutcomeKind.STOPPED, reason=self.reason)


class Execution:
    """Runs a task in a child; afterwards ``reusable`` says whether the child may take another."""

    def __init__(
        self, child: ChildProcess, source: str, task: Task, folder: Folder, observer: Observer, stop: Stop
    ) -> None:
        self._child = child
        self._source = source
        self._task = task
        self._folder = folder
        self._observer = observer
        self._stop = stop
        self._mask = task.secrets.mask if task.secrets else None
        self._telling = Telling(self._mask)
        self._answering: asyncio.Task[None] | None = None
        self._stop_reason: str | None = None  # in the words of `JobContext.stop_reason`
        self.reusable = False

    async def run(self, grace: timedelta) -> Outcome:
        """Run it; on a stop or at the time limit, give it ``grace`` to clean up.

        When this returns, or raises, a child that is not reusable has ended with all that descends from it.
        """
        reading, writing = os.pipe()
        log = LogReader(reading, self._observer.log, self._mask.stream() if self._mask else None)
        progress = ProgressReports(self._observer)
        artifacts = ArtifactDelivery(self._observer, self._folder.artifacts)
        listening = asyncio.create_task(self._listen(writing, progress, artifacts))
        telling: asyncio.Task[Outcome] | None = None
        try:
            outcome = await self._work(listening, grace)
            if not self.reusable:
                await self._end(listening)
            # Of a stopped job the files are of no interest, but its last words are: only a lost lease cuts those short.
            hurry = self._stop.asked
            if self._stop.asked.is_set():
                artifacts.abandon()
                hurry = self._stop.at_once
            telling = asyncio.create_task(self._tell_rest(outcome, log, progress, artifacts))
            await hurry.or_done(telling)
            if self._stop.reason is not None:
                return self._stop.outcome()
            return await telling
        finally:
            log.abandon()
            progress.abandon()
            artifacts.abandon()
            if telling:
                telling.cancel()
            if not self.reusable:
                await self._end(listening)

    async def _end(self, listening: "asyncio.Task[Returned | Raised | None]") -> None:
        """Kill the child; first stop listening, for a socket that is closed under a reader never wakes it."""
        talking = [task for task in (listening, self._answering) if task]
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await self._child.kill()

    async def _work(self, listening: "asyncio.Task[Returned | Raised | None]", grace: timedelta) -> Outcome:
        """Wait for the job's end, or bring it about."""
        if await self._stop.asked.or_done(listening, self._task.timeout):
            return await self._judge(listening)
        outcome = self._stop.outcome()
        self._stop_reason = self._stop.reason or "timeout"
        if not self._stop.asked.is_set():
            assert self._task.timeout is not None
            outcome = _failed(ErrorKind.TIMEOUT, ran_too_long(self._task.timeout))
        if not self._stop.at_once.is_set():
            self._child.terminate()
            await self._stop.at_once.or_done(listening, grace)
        return outcome

    async def _listen(
        self, pipe: int, progress: ProgressReports, artifacts: ArtifactDelivery
    ) -> Returned | Raised | None:
        """Send the task and take what the child says until the job has ended; None where the child has."""
        try:
            await self._child.send(self._message(), pipe)
        finally:
            os.close(pipe)
        while message := await self._child.receive():
            match message := await self._telling.shown(message):
                case Progress():
                    progress.put(message)
                case ArtifactMade():
                    artifacts.put(message)
                case Question() if self._answering is None or self._answering.done():
                    self._answering = asyncio.create_task(self._answer(message))
                case Returned() | Raised():
                    return message
                case _:
                    raise ProtocolError(f"the backend's process said {message.type} out of turn")
        return None

    async def _answer(self, question: Question) -> None:
        try:
            if question.topic is Topic.STOP_REASON:
                found = self._stop_reason
            else:
                found = await self._observer.answer(question.topic, json.loads(question.content))
            answer = frame(Answer(content=json.dumps(found)))
        except BackendError as error:
            answer = frame(Answer(error=clean(str(error), MOST_TOLD), kind=error.kind))
        except Exception as error:  # noqa: BLE001 - a defect here must not leave a thread of the job waiting for ever
            _log.exception("a job's question failed", job=self._task.job, topic=question.topic)
            answer = frame(Answer(error=f"the worker could not answer: {clean(str(error), MOST_TOLD)}"))
        await self._child.answer(answer)

    def _message(self) -> Run:
        task = self._task
        return Run(
            source=self._source,
            backend=task.backend,
            job=task.job,
            attempt=task.attempt,
            parameters=json.dumps(task.parameters),
            inputs={upload: str(path) for upload, path in task.inputs.items()},
            deadline=None if task.timeout is None else datetime.now(UTC) + task.timeout,
            folder=str(self._folder.root),
            remembered=json.dumps(dict(task.remembered)),
            asks_first=task.asks_first,
            memory=task.memory,
            has_secrets=task.secrets is not None,
        )

    async def _judge(self, listening: Awaitable[Returned | Raised | None]) -> Outcome:
        try:
            report = await listening
        except (OSError, ProtocolError) as error:
            return self._failed_at(str(error))
        if report is None:
            return _failed(ErrorKind.FATAL, f"the backend's process ended {describe_end(await self._child.wait())}")
        # What its code keeps of a secret (a session, a cache) would be told by a next job, which knows no such secret.
        self.reusable = report.clean and not self._task.secrets and not self._child.left_something()
        if isinstance(report, Returned):
            try:
                return Outcome(OutcomeKind.DONE, result=await self._telling.result(report))
            except (ValueError, RecursionError, FatalError) as error:
                return self._failed_at(f"the backend's process told of no result: {error}")
        if report.kind is ErrorKind.CANCELLED:
            return Outcome(OutcomeKind.STOPPED)  # by a signal that reached it before us, as when a system shuts down
        return _failed(report.kind, report.message, report.traceback)

    def _failed_at(self, why: str) -> Outcome:
        return Outcome(OutcomeKind.FAILED, error=self._telling.error(JobError(ErrorKind.FATAL, why)))

    @staticmethod
    async def _tell_rest(
        outcome: Outcome, log: LogReader, progress: ProgressReports, artifacts: ArtifactDelivery
    ) -> Outcome:
        """Tell the observer what is still under way; a result without its files is none."""
        await progress.finish()
        unkept = await artifacts.finish()
        await log.finish()
        if unkept and outcome.kind is OutcomeKind.DONE:
            return _failed(ErrorKind.TRANSIENT, unkept)
        return outcome


def _failed(kind: ErrorKind, message: str, traceback: str | None = None) -> Outcome:
    return Outcome(OutcomeKind.FAILED, error=JobError(kind, message, traceback))
