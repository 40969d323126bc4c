"""The warm child processes of a worker, and the attempts that run in them."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph.seal import SealBrokenError
from heliograph_worker.account import Account
from heliograph_worker.audit import audit
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.environment import child_environment
from heliograph_worker.execution import Execution, Stop
from heliograph_worker.process import ChildProcess, ChildStartError
from heliograph_worker.scratch import Scratch
from heliograph_worker.secrets import CANNOT_BE_OPENED
from heliograph_worker.task import Observer, Outcome, OutcomeKind, StopReason, Task

_log = structlog.get_logger(__name__)

# Then it is replaced: what plugins leak adds up. A start takes 0.3 s of CPU, 0.15 ms of each job.
_JOBS_PER_CHILD = 2_000


class Pool:
    """Runs up to ``slots`` tasks at a time, each in a child process of its own.

    A child that served well serves again, by preference for the backend that it has imported, but never for another
    owner: what a backend keeps in its modules is nobody else's business. A job that runs what its caller wrote has a
    child of its own, under an account of its own, and nothing of it is there afterwards. One fresh spare is kept warm,
    so that a task need not wait for an interpreter to start; there is at most one process more than there are slots. A
    child whose job timed out, was stopped, crashed, left threads or processes behind or knew secrets is thrown away.

    Parameters
    ----------
    catalogue
        The backends there are.
    slots
        How many tasks run at a time.
    scratch_root
        Where attempts get their folders; workers may share it.
    grace
        How long a job that is to stop may clean up.
    memory_limit
        What a job's process may allocate, in bytes; None for no limit.
    environment
        The worker's variables, this process's own where left out. Children get those that look like no secret.
    keep
        Names of variables that children get all the same.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        slots: int,
        scratch_root: Path,
        grace: timedelta = timedelta(seconds=10),
        memory_limit: int | None = None,
        environment: Mapping[str, str] | None = None,
        keep: frozenset[str] = frozenset(),
    ) -> None:
        self._catalogue = catalogue
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self._lent: set[str] = set()  # tasks that gave their slot away
        self._scratch = Scratch(scratch_root, reachable=bool(catalogue.accounts))
        self._grace = grace
        self._memory_limit = memory_limit or 0
        variables = os.environ if environment is None else environment
        self._environment = child_environment(variables, keep)
        self._entrusted_environment = child_environment(variables)  # what is kept for plugins is not for their callers
        self._idle: list[ChildProcess] = []  # the one used last is the last
        self._stops: dict[str, Stop] = {}
        self._ended: asyncio.Event = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._spare: asyncio.Task[None] | None = None
        self._busy = 0
        self._open = False

    @property
    def folder(self) -> Path:
        """The folder of this worker alone: what is put there goes with it, at the latest when the next one starts."""
        return self._scratch.folder

    @property
    def processes(self) -> int:
        """How many child processes there are, or are on their way."""
        return self._busy + len(self._idle) + self._starting()

    async def start(self) -> None:
        """Clear away what dead workers left, and start the first child.

        Raises
        ------
        ChildStartError
            It cannot be started.
        """
        self._scratch.open()
        self._open = True
        self._idle.append(await self._new())

    async def close(self, grace: timedelta | None = None) -> None:
        """Stop all tasks (their outcome is ``stopped``), then end all children and remove the scratch folder."""
        self._open = False
        if grace is not None:
            self._grace = grace
        for stop in self._stops.values():
            stop.ask(StopReason.SHUTDOWN)
        while self._stops:
            self._ended.clear()
            await self._ended.wait()
        await asyncio.gather(*self._background, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill() for child in idle))
        await self._scratch.close()

    def stop(self, token: str, reason: StopReason) -> bool:
        """Ask a task to stop; return whether there is one of this token. Its ``run`` then returns."""
        stop = self._stops.get(token)
        if stop:
            stop.ask(reason)
        return stop is not None

    def lend(self, token: str) -> None:
        """Give the slot of a task that waits to another one; it goes on without."""
        if token in self._stops and token not in self._lent:
            self._lent.add(token)
            self._free.release()

    async def run(self, task: Task, observer: Observer, on_begin: Callable[[], object] = lambda: None) -> Outcome:
        """Run a task, after waiting for a free slot if there is none, and return what came of it.

        ``on_begin`` is called once it has its slot.

        It never raises for what a backend does. Cancelling this call kills the job at once.
        """
        if task.token in self._stops:
            raise ValueError(f"a task with the token {task.token} is here already")
        source = self._catalogue.sources.get(task.backend)
        if source is None:
            return _failed(ErrorKind.FATAL, f"this worker has no backend {task.backend}")
        stop = self._stops[task.token] = Stop()
        if not self._open:
            stop.ask(StopReason.SHUTDOWN)
        try:
            if not await self._slot(stop):
                return stop.outcome()
            on_begin()
            try:
                return stop.outcome() if stop.reason else await self._run(task, source, observer, stop)
            finally:
                if task.token in self._lent:
                    self._lent.remove(task.token)
                else:
                    self._free.release()
        finally:
            del self._stops[task.token]
            self._ended.set()

    async def _slot(self, stop: Stop) -> bool:
        """Wait for a slot; False where the task is to stop before there is one."""
        if not self._free.locked():
            return await self._free.acquire()
        acquiring = asyncio.create_task(self._free.acquire())
        try:
            if await stop.asked.or_done(acquiring):
                return True
        except asyncio.CancelledError:
            await self._forgo(acquiring)
            raise
        await self._forgo(acquiring)
        return False

    async def _forgo(self, acquiring: "asyncio.Task[bool]") -> None:
        """Wait for a slot no longer, and give back one that came in this moment."""
        acquiring.cancel()
        await asyncio.wait({acquiring})
        if not acquiring.cancelled():
            self._free.release()

    async def _run(self, task: Task, source: str, observer: Observer, stop: Stop) -> Outcome:
        self._busy += 1
        child: ChildProcess | None = None
        reusable = False
        try:
            if task.secrets:
                # In a thread, for all that a secret may be written as is worked out here.
                parameters = await asyncio.to_thread(task.secrets.open, task.parameters)
                task = replace(task, parameters=parameters)
            account = self._catalogue.accounts.get(task.backend)
            child = await self._take(task, account)
            self._keep_spare()
            async with self._scratch.attempt(account) as folder:
                if account:
                    audit(task, account)
                execution = Execution(child, source, task, folder, observer, stop)
                outcome = await execution.run(self._grace)
                if account:
                    await child.kill()  # whatever it says: its caller's code could go on in it
            reusable = execution.reusable and not account
        except SealBrokenError:
            return _failed(ErrorKind.FATAL, CANNOT_BE_OPENED)
        except (ChildStartError, OSError) as error:  # no room for a process, a folder, a pipe
            _log.warning("attempt.not_begun", job=task.job, exc_info=error)
            return _failed(ErrorKind.TRANSIENT, f"the worker could not run it: {error}")
        else:
            return outcome
        finally:
            self._busy -= 1
            if child:
                self._give_back(child, task.backend, reusable=reusable)

    async def _take(self, task: Task, account: Account | None) -> ChildProcess:
        """Get a child for the owner: one that knows the backend, else a fresh one, else one that was theirs before.

        For another account, a new one.
        """
        for child in [child for child in self._idle if not child.alive]:
            self._idle.remove(child)
            self._later(child.kill())
        if self._spare and not account and not self._usable(task):
            await asyncio.wait({self._spare})  # sooner ready than another one
        if not account and (usable := self._usable(task)):
            child = min(usable, key=lambda child: (task.backend not in child.ran, bool(child.ran)))
            self._idle.remove(child)
        else:
            self._make_room()
            child = await self._new(account)
        child.owner = task.owner
        return child

    def _usable(self, task: Task) -> list[ChildProcess]:
        return [child for child in self._idle if child.owner is None or child.owner == task.owner]

    def _make_room(self) -> None:
        """End those children that have waited longest for another job of their owner's."""
        used = [child for child in self._idle if child.owner is not None]
        for child in used[: max(0, self.processes - self._slots - len(self._lent) - 1)]:
            self._idle.remove(child)
            self._later(child.kill())

    def _give_back(self, child: ChildProcess, backend: str, *, reusable: bool) -> None:
        child.jobs += 1
        child.ran.add(backend)
        if reusable and self._open and child.jobs < _JOBS_PER_CHILD:
            self._idle.append(child)
        else:
            self._later(child.kill())
        self._keep_spare()

    def _keep_spare(self) -> None:
        """See that a fresh child is ready, or on its way, for the next task, where a slot is left for one."""
        has_fresh = any(child.owner is None for child in self._idle)
        if self._open and not has_fresh and not self._starting() and self._busy < self._slots:
            self._spare = self._later(self._start_spare())
        self._make_room()

    async def _start_spare(self) -> None:
        try:
            child = await self._new()
        except ChildStartError as error:
            _log.warning("child.unstarted", reason=str(error))
        else:
            self._idle.append(child)

    def _starting(self) -> bool:
        return self._spare is not None and not self._spare.done()

    async def _new(self, account: Account | None = None) -> ChildProcess:
        environment = self._entrusted_environment if account else self._environment
        return await ChildProcess.start(environment, self._memory_limit, account)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _failed(kind: ErrorKind, message: str) -> Outcome:
    return Outcome(OutcomeKind.FAILED, error=JobError(kind, message))
