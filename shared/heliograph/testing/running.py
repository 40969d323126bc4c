"""Run a backend as a worker does, in this process."""

import asyncio
import contextlib
import inspect
import json
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from heliograph.backends.backend import Backend
from heliograph.backends.context import JobContext
from heliograph.backends.errors import BackendError, Cancelled, UsageError
from heliograph.backends.failures import describe, describe_invalid, ran_too_long, shortened
from heliograph.backends.result import as_json
from heliograph.backends.standing import Finished, Standing
from heliograph.backends.telling import Progress
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph.masking import Mask
from heliograph.testing.job import FakeJob
from heliograph.testing.outcome import Run
from heliograph.testing.output import caught
from heliograph.testing.secrets import mask_of, refuse_to_show, without_secrets
from heliograph.testing.stopping import Stopping


def run(
    backend: Backend | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, Path] | None = None,
    attempt: int = 1,
    timeout: timedelta | None = None,
    remembered: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    callbacks: Iterable[Mapping[str, Any]] = (),
    scratch: Path | None = None,
    cancel_when: Callable[[Progress], bool] | None = None,
    catch: bool = False,
    echo: bool = True,
) -> Run:
    """Run a backend and return what came of it; its outcomes are values, its defects are raised: see the package.

    The backend gets secret parameters as they are; in what it returns, prints and tells they are masked, as a worker
    does it.

    Parameters
    ----------
    backend
        What the decorator made. (A type checker takes a decorated class for the class that it was.)
    parameters
        As a submission gives them: JSON values. A ``Path`` stands for an uploaded file; the backend gets a copy.
    inputs
        Uploads by their ids, for parameters that name them by id.
    attempt, remembered
        Which attempt this is, and what earlier ones asked to be remembered.
    timeout
        How long it may run, at most as long as the backend says. Where left out, the backend sees its own limit as its
        deadline, and nobody holds it to that.
    children, callbacks
        What becomes of the jobs that it submits, and what outside systems tell: see ``FakeJob``.
    scratch
        The job's folder, which is then kept; where left out, a temporary one.
    cancel_when
        Is asked at each report of progress whether the job is cancelled now.
    catch
        Whether a defect, too, is an outcome.
    echo
        Whether to print the job's log when it is over, so that pytest shows it with a failed test.

    Raises
    ------
    RuntimeError
        ``timeout`` or ``cancel_when`` is given outside the main thread, the only one where Python can be interrupted.
    """
    if (timeout or cancel_when) and threading.current_thread() is not threading.main_thread():
        raise RuntimeError("timeout and cancel_when take the main thread")
    backend = _checked(backend)
    backend.schema()  # a worker leaves out a backend that has none
    limit = min(timeout or backend.timeout, backend.timeout)
    stopping = Stopping()
    returned, error = None, None
    mask = mask_of(backend, parameters or {})
    with _folder(scratch) as (folder, work), caught(echo=echo) as log:
        job = _RunningJob(
            work, stopping=stopping, cancel_when=cancel_when, attempt=attempt, deadline=datetime.now(UTC) + limit,
            remembered=remembered, children=children, callbacks=callbacks, catch=catch, mask=mask,
        )  # fmt: skip
        given, files = _handed_over(parameters or {}, inputs or {}, folder)
        try:
            with contextlib.chdir(work), stopping.armed(limit if timeout else None):
                value = _call(backend, backend.function, (given, files), job, stopping)
                returned = json.loads(as_json(value))
        except BaseException as raised:
            if not _is_outcome(raised, stopping, catch=catch):
                raise
            error = JobError(*describe(raised, stop_asked=stopping.reason is not None))
    if stopping.reason is not None:  # whatever it did after that
        returned, error = None, _error_of_stopped(stopping.reason, limit)
    done = Run(
        error=error,
        log=log.text,
        progress=tuple(job.reports),
        artifacts=MappingProxyType(dict(job.artifacts)),
        submitted=tuple(job.submitted),
        remembered=job.remembered,
        returned=returned,
    )
    if mask:
        done = without_secrets(done, mask)
    return replace(done, error=done.error and shortened(done.error))


def reconcile(
    backend: Backend | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, Path] | None = None,
    attempt: int = 2,
    remembered: Mapping[str, Any] | None = None,
) -> Standing:
    """Ask a backend what became of a job whose worker was lost, as its next worker does; what it raises is raised.

    Raises
    ------
    ValueError
        The backend has no ``reconcile``.
    TypeError
        It returned something else than a standing.
    """
    backend = _checked(backend)
    if backend.reconcile is None:
        raise ValueError(f"{backend.name} has no reconcile")
    with _folder(None) as (folder, work):
        given = _handed_over(parameters or {}, inputs or {}, folder)
        job = FakeJob(work, attempt=attempt, remembered=remembered)
        with contextlib.chdir(work):
            standing = _call(backend, backend.reconcile, given, job, Stopping())
    if not isinstance(standing, Standing):
        raise TypeError(f"reconcile returned no standing: {standing!r}")
    if isinstance(standing, Finished):
        return replace(standing, result=json.loads(as_json(standing.result)))
    return standing


class _RunningJob(FakeJob):
    """A job that can be interrupted."""

    def __init__(
        self, scratch: Path, *, stopping: Stopping, cancel_when: Callable[[Progress], bool] | None, mask: Mask | None,
        **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(scratch, **given)
        self._mask = mask
        self._stopping = stopping
        self._cancel_when = cancel_when

    @property
    def cancelled(self) -> bool:
        return self._stopping.reason is not None

    @property
    def stop_reason(self) -> str | None:
        return self._stopping.reason.value if self._stopping.reason else None

    def cancel(self) -> None:
        self._stopping.ask(ErrorKind.CANCELLED)

    def submit(self, backend: str, parameters: Mapping[str, Any], **fields: Any) -> str:
        if self._mask:
            refuse_to_show(self._mask, self._planned.get(backend), parameters, fields)
        return super().submit(backend, parameters, **fields)

    def report(self, report: Progress) -> None:
        super().report(report)
        if self._cancel_when and self._cancel_when(report):
            self.cancel()


def _checked(backend: object) -> Backend:
    if not isinstance(backend, Backend):
        raise TypeError(f"{backend!r} is no backend: the decorator makes one of a function or a class")
    return backend


@contextmanager
def _folder(scratch: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make a folder for the time of a run; yields it, and the job's own."""
    with tempfile.TemporaryDirectory(prefix="heliograph-") as name:
        work = scratch.absolute() if scratch else Path(name, "work")
        work.mkdir(parents=True, exist_ok=True)
        yield Path(name), work


def _handed_over(
    parameters: Mapping[str, Any], inputs: Mapping[str, Path], folder: Path
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the parameters as a worker gets them, and a copy of each file by the text that names it there."""
    files = dict(inputs)

    def name_of(value: object) -> str:
        if not isinstance(value, Path):
            raise TypeError(f"parameters: {type(value).__qualname__} is no JSON value, and no path of a file")
        path = value.absolute()
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        if path.is_file():
            files[str(path)] = path
        return str(path)

    given = json.loads(json.dumps(dict(parameters), default=name_of, allow_nan=False))
    copies = {}
    for number, (upload, path) in enumerate(files.items()):
        copies[upload] = folder / "inputs" / str(number) / path.name
        copies[upload].parent.mkdir(parents=True)
        shutil.copyfile(path, copies[upload])
    return given, copies


def _call(
    backend: Backend,
    function: Callable[[Any, JobContext], Any],
    given: tuple[dict[str, Any], dict[str, Path]],
    job: JobContext,
    stopping: Stopping,
) -> Any:
    try:
        parameters = backend.parse(*given)
    except ValidationError as error:
        raise UsageError(describe_invalid(error)) from None
    value = function(parameters, job)
    return _complete(_cancellable(value, stopping)) if inspect.isawaitable(value) else value


async def _cancellable(work: Awaitable[Any], stopping: Stopping) -> Any:
    task = asyncio.current_task()
    assert task
    loop = asyncio.get_running_loop()
    stopping.cancel_by(lambda: loop.call_soon_threadsafe(task.cancel))
    return await work


def _complete(work: Any) -> Any:
    """Run a coroutine to its end; where a loop runs already (a notebook, an asynchronous test), in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


def _is_outcome(raised: BaseException, stopping: Stopping, *, catch: bool) -> bool:
    if isinstance(raised, KeyboardInterrupt):
        return False
    if isinstance(raised, Cancelled | asyncio.CancelledError) and stopping.reason is not None:
        return True
    return catch or isinstance(raised, BackendError)


def _error_of_stopped(reason: ErrorKind, limit: timedelta) -> JobError:
    if reason is ErrorKind.TIMEOUT:
        return JobError(reason, ran_too_long(limit))
    return JobError(reason, "cancelled on request")
