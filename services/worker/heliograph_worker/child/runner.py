"""The inner of a child's two processes: it runs one job after the other, each as the worker asks for it."""

import asyncio
import inspect
import json
import os
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from heliograph.backends.errors import FatalError, UsageError
from heliograph.backends.failures import describe, describe_invalid
from heliograph.backends.result import as_json
from heliograph.backends.standing import Finished, Gone, StillRunning
from heliograph_worker.child.channel import Channel
from heliograph_worker.child.context import ChildContext
from heliograph_worker.child.output import Output
from heliograph_worker.child.stopping import Stopping
from heliograph_worker.child.surroundings import Surroundings
from heliograph_worker.folder import Folder
from heliograph_worker.protocol import Raised, Ready, Returned, Run
from heliograph_worker.sources import resolve

_GOES_FIRST = "500"  # of -1000..1000


def go_first() -> None:
    """Have the kernel end this process before its worker when memory runs out."""
    with suppress(OSError):  # the runner of another user's jobs, which has said so while it was root
        Path("/proc/self/oom_score_adj").write_text(_GOES_FIRST, encoding="ascii")


def serve(control: int, memory_limit: int) -> None:
    """Run jobs until the worker closes the control socket (descriptor ``control``)."""
    if memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
    go_first()
    stopping = Stopping()
    stopping.install()
    channel = Channel(socket.socket(fileno=control), stopping)
    output = Output()
    with suppress(EOFError, ConnectionResetError, BrokenPipeError):  # the worker has gone: nobody is left to be told
        channel.send(Ready())
        while True:
            run, pipe = channel.receive_run()
            if run.has_secrets:
                output.silence()
            output.divert(pipe)
            surroundings = Surroundings()
            verdict = _run(run, channel, stopping, surroundings)
            clean = surroundings.restore() & output.restore() and threading.active_count() == 1 and not stopping.asked
            channel.send(verdict.model_copy(update={"clean": clean}))


def _run(run: Run, channel: Channel, stopping: Stopping, surroundings: Surroundings) -> Returned | Raised:
    """Run one job; whatever happens, say once how it ended."""
    folder = Folder(Path(run.folder))
    context = ChildContext(run, folder, channel, stopping)
    try:
        stopping.arm()
        try:
            _limit_memory(run.memory)
            os.chdir(folder.work)
            os.environ["TMPDIR"] = tempfile.tempdir = str(folder.temporary)
            return Returned(result=as_json(_call(run, context, stopping, surroundings)), clean=True)
        finally:
            stopping.disarm()
    except BaseException as error:  # noqa: BLE001 - it is the job that ends, not this process
        kind, message, traceback = describe(error, stop_asked=stopping.asked)
        return Raised(kind=kind, message=message, traceback=traceback, clean=True)
    finally:
        _limit_memory(None)
        os.chdir("/")


def _call(run: Run, context: ChildContext, stopping: Stopping, surroundings: Surroundings) -> object:
    backend = resolve(run.source)
    surroundings.keep()  # what the import of a plugin sets up, it does once: that stays
    if backend.name != run.backend:
        raise FatalError(f"{run.source} is now the backend {backend.name}, no longer {run.backend}")
    try:
        inputs = {upload: Path(path) for upload, path in run.inputs.items()}
        parameters = backend.parse(json.loads(run.parameters), inputs)
    except ValidationError as error:
        raise UsageError(describe_invalid(error)) from None
    if run.asks_first and backend.reconcile:
        while isinstance(standing := _result(backend.reconcile(parameters, context), stopping), StillRunning):
            context.log(f"heliograph: it still runs outside; asked again in {standing.ask_again.total_seconds():g} s")
            time.sleep(standing.ask_again.total_seconds())
        if isinstance(standing, Finished):
            return standing.result
        if not isinstance(standing, Gone):
            raise FatalError(f"reconcile returned {type(standing).__qualname__}, which is no standing")
    return _result(backend.function(parameters, context), stopping)


def _result(returned: object, stopping: Stopping) -> object:
    """Return what a function returned or, where it is an asynchronous one, what comes of it."""
    return asyncio.run(_cancellable(returned, stopping)) if inspect.isawaitable(returned) else returned


def _limit_memory(most: int | None) -> None:
    """Set the soft limit of this process, and of what it starts, for one job; the hard one is the operator's."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = hard if most is None else most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


async def _cancellable(work: Awaitable[object], stopping: Stopping) -> object:
    task = asyncio.current_task()
    assert task
    loop = asyncio.get_running_loop()
    stopping.cancel_by(lambda: loop.call_soon_threadsafe(task.cancel))
    return await work
