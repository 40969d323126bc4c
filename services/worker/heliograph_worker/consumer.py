"""The consumer: claims work whenever a slot is free, and sees each job to its end."""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter, Gauge

from heliograph import faults
from heliograph.bus.port import Bus, Subscription
from heliograph.callbacks import Callbacks
from heliograph.errors import NotFoundError
from heliograph.jobs.children import Children
from heliograph.jobs.model import Job, JobError
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store import ClaimStore, LogStore
from heliograph.storage import Database, Files, StoreUnavailableError
from heliograph_worker.answers import Answerers, Answers
from heliograph_worker.attempt import Attempt, fetch_inputs, timeout_of
from heliograph_worker.capacity import Capacity, Room
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.claiming import Claiming
from heliograph_worker.latch import Latch
from heliograph_worker.leases import BEATS_OF_LEASE, Leases
from heliograph_worker.pool import Pool
from heliograph_worker.secrets import JobSecrets
from heliograph_worker.task import Outcome, OutcomeKind, StopReason, Task

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 2.0  # without a hint, work is found this late
FULL_SECONDS = 1.0  # a worker that is full for so long leaves the hints to others
RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 0.3  # so long a job waits here for a slot; another worker may have one

RUNNING = Gauge("heliograph_worker_running_jobs", "Jobs that run now")
ENDED = Counter("heliograph_worker_attempts_total", "Attempts that ended", ("backend", "outcome"))

HANDED_BACK = Outcome(OutcomeKind.STOPPED, reason=StopReason.SHUTDOWN)


class Consumer:
    """Claims from the database until nothing is eligible, then waits for a hint or for two seconds."""

    def __init__(
        self,
        worker: str,
        slots: int,
        lease: timedelta,
        catalogue: Catalogue,
        pool: Pool,
        database: Database,
        bus: Bus,
        relay: Relay,
        *,
        children: Children | None,
        callbacks: Callbacks | None,
        seal_keys: Sequence[str] | None,
    ) -> None:
        self._worker = worker
        self._slots = slots
        self._catalogue = catalogue
        self._pool = pool
        self._database = database
        self._seal_keys = seal_keys
        self._bus = bus
        self._relay = relay
        self._claims = ClaimStore(database)
        self._answerers = Answerers(self._claims, children, callbacks, self._on_waiting)
        per_worker = {name: backend.limits.per_worker for name, backend in catalogue.backends.items()}
        self._capacity = Capacity(slots, {name: most for name, most in per_worker.items() if most is not None})
        self._claiming = Claiming(database, worker, lease, list(catalogue.backends))
        self._logs = LogStore(database)
        self._artifacts = Files(database, "artifacts")
        self._uploads = Files(database, "uploads")
        self.leases = Leases(self._claims, pool.stop, beat=lease / BEATS_OF_LEASE)
        self._look_again = asyncio.Event()
        self._slot_freed = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._hints: Subscription | None = None
        self._closes = False  # nothing new begins
        self._closing = Latch()  # what runs has had its time

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return len(self._jobs)

    def on_hint(self, _backend: str) -> None:
        """Look for work at once."""
        self._look_again.set()

    async def run(self) -> None:
        """Claim and run until cancelled; jobs that run then go on until ``drain``."""
        queues = list(self._catalogue.backends)
        self._hints = await self._bus.subscribe_hints(queues, self.on_hint)
        try:
            while True:
                self._look_again.clear()
                room = await self._wait_for_room(queues)
                try:
                    jobs = await self._claim_whole(room)
                except StoreUnavailableError:
                    await asyncio.sleep(RETRY_SECONDS)
                    await self._database.wait_connected()
                    continue
                if not jobs:
                    await self._wait_for_work()
                for job in jobs:
                    self._take(job)
        finally:
            self._closes = True
            await self._hints.close()

    async def drain(self, seconds: float) -> None:
        """Let running jobs end for a while, then hand back those that are left: that costs them no attempt.

        It ends whether the database is there or not: what cannot be written within ``attempt.RESULT_SECONDS`` (a
        result) or ``attempt.HAND_BACK_SECONDS`` (that a job was handed back) is given up, and the lease runs out.
        """
        self._closes = True
        self._pass_on_waiting()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=seconds)
        self._closing.set()
        for job in list(self._jobs):
            self._pool.stop(job.get_name(), StopReason.SHUTDOWN)
        if self._jobs:
            await asyncio.wait(self._jobs)

    async def _claim_whole(self, room: Room) -> Sequence[Job]:
        """Claim; if cancelled meanwhile, take what came of it first, for nobody else would before its lease is over."""
        claim = asyncio.create_task(self._claiming.claim(room))
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            await asyncio.wait({claim})
            if not claim.exception():
                for job in claim.result():
                    self._take(job)
            raise

    def _take(self, job: Job) -> None:
        """Begin what was claimed, unless the claim ended it."""
        self._relay.nudge(job.id)
        if job.state is not State.RUNNING:
            return
        faults.reach(faults.Point.CLAIMED_NOT_STARTED)
        assert job.lease
        self.leases.hold(job.id, job.lease.token)
        # The task is named by the lease's token, which is how the pool knows the attempt.
        task = asyncio.create_task(self._attempt(job), name=job.lease.token)
        self._jobs.add(task)
        self._capacity.begin(job.lease.token, job.id, job.queue)
        RUNNING.set(len(self._capacity))
        task.add_done_callback(self._ended)
        if len(self._capacity) > self._slots:
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._pass_on, job.lease.token)

    def _pass_on(self, token: str) -> None:
        """Hand back what was claimed ahead of a slot that did not come: the jobs before it are long after all."""
        if not self._capacity.has_begun(token) and not self._pool.stop(token, StopReason.SHUTDOWN):
            # Its input files are still on their way; then it may have to wait after all.
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._pass_on, token)

    def _pass_on_waiting(self) -> None:
        """Hand back all that waits here for a slot."""
        for job in self._jobs:
            self._pass_on(job.get_name())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._free(task.get_name())
        if not task.cancelled() and (error := task.exception()):
            _log.error("defect", exc_info=error)

    def _free(self, token: str) -> None:
        """Let the next job have the slot of one that is at work no longer."""
        self._capacity.end(token)
        RUNNING.set(len(self._capacity))
        self._slot_freed.set()
        self._look_again.set()

    async def _attempt(self, job: Job) -> None:
        assert job.lease
        backend = self._catalogue.backends.get(job.backend or "")
        secrets = JobSecrets(job.id, job.secrets, self._seal_keys) if job.secrets is not None else None
        answers = Answers(job, self._answerers, timeout_of(job, backend), secrets)
        attempt = Attempt(job, self._worker, self._claims, self._logs, self._artifacts, self._bus, answers)
        try:
            outcome = await self._execute(job, attempt, secrets)
            self._free(job.lease.token)  # its end is written while the next one runs
            if outcome.kind is OutcomeKind.STOPPED and outcome.reason is None and self._closes:
                outcome = HANDED_BACK  # a supervisor that signals all processes told the job before it told us
            ENDED.labels(job.backend, outcome.kind).inc()
            written = await attempt.end(outcome, backend, self._closing)
        except StoreUnavailableError:
            _log.warning("stopped without the database: the job runs again", job=job.id, outcome=outcome.kind)
            return
        finally:
            self.leases.let_go(job.id, job.lease.token)
        if written:
            self._relay.nudge(job.id)
            if self._claiming.is_limited(job.queue):
                await self._bus.hint([job.queue])  # a place is free again, for whichever worker
        else:
            _log.warning("an end was not taken: the job is somebody else's", job=job.id)

    async def _execute(self, job: Job, attempt: Attempt, secrets: JobSecrets | None) -> Outcome:
        assert job.lease
        with self._inputs_folder(job) as folder:
            try:
                inputs = await self._unless_closing(self._fetch_inputs(job, folder)) if job.inputs else {}
            except NotFoundError as error:
                return _failed(ErrorKind.USAGE, f"an input file is gone: {error.message}")
            except OSError as error:
                return _failed(ErrorKind.TRANSIENT, f"its input files could not be fetched: {error}")
            if inputs is None or self._closing.is_set():  # ``drain`` did not find it in the pool
                return HANDED_BACK
            backend = self._catalogue.backends.get(job.backend or "")
            task = Task(
                token=job.lease.token, job=job.id, attempt=job.attempt, backend=job.backend or "",
                parameters=job.parameters, inputs=inputs, owner=job.owner, timeout=timeout_of(job, backend),
                remembered=job.remembered, memory=backend.memory if backend else None,
                asks_first=bool(backend and backend.reconcile and job.begun_before), secrets=secrets,
            )  # fmt: skip
            return await self._pool.run(task, attempt, partial(self._capacity.has_slot, task.token))

    @contextlib.contextmanager
    def _inputs_folder(self, job: Job) -> Iterator[Path]:
        if not job.inputs:
            yield self._pool.folder
            return
        with tempfile.TemporaryDirectory(dir=self._pool.folder) as folder:
            yield Path(folder)

    async def _fetch_inputs(self, job: Job, folder: Path) -> Mapping[str, Path]:
        """Fetch, however long the database takes: that it is away is no failure of the job's."""
        while True:
            try:
                return await fetch_inputs(job, self._uploads, folder)
            except StoreUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _unless_closing(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Do some work; None where the worker closes before it is done."""
        working = asyncio.create_task(work)
        try:
            return working.result() if await self._closing.or_done(working) else None
        finally:
            working.cancel()
            await asyncio.wait({working})  # what it writes to is removed next

    def _on_waiting(self, token: str, waits: bool) -> None:
        """Take note that a job waits for its children, or no longer does."""
        if self._capacity.wait(token, waits=waits):
            if waits:
                self._pass_on_waiting()  # the slot is for descendants alone
                self._pool.lend(token)
            self._slot_freed.set()
            self._look_again.set()

    async def _wait_for_room(self, queues: Sequence[str]) -> Room:
        """Wait for a slot; one who is full for a while stops taking hints that others could use."""
        if room := self._capacity.room(queues):
            return room
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FULL_SECONDS):
                return await self._until_room(queues)
        assert self._hints
        await self._hints.pause()
        try:
            return await self._until_room(queues)
        finally:
            await self._hints.resume()

    async def _until_room(self, queues: Sequence[str]) -> Room:
        while (room := self._capacity.room(queues)) is None:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        return room

    async def _wait_for_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS * random.uniform(0.75, 1.0)):  # noqa: S311 - jitter
                await self._look_again.wait()


def _failed(kind: ErrorKind, message: str) -> Outcome:
    return Outcome(OutcomeKind.FAILED, error=JobError(kind, message))
