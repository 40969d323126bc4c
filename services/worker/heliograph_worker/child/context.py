"""The job's context in the child process: what it tells travels to the worker."""

import json
import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from heliograph.backends.artifacts import check_name, media_type_of
from heliograph.backends.context import Callback, ChildJob
from heliograph.backends.errors import UsageError
from heliograph.backends.failures import MOST_TOLD, clean
from heliograph.backends.telling import progress_of, remembered_json, submission_json
from heliograph.jobs.model import JobError
from heliograph.jobs.states import OVER, ErrorKind, State
from heliograph_worker.child.channel import Channel
from heliograph_worker.child.stopping import Stopping
from heliograph_worker.folder import Folder
from heliograph_worker.protocol import ArtifactMade, Progress, Run, Topic

_BURST = 100  # so many progress reports pass at once; a loop that tells of each turn is then thinned out
_PER_SECOND = 20  # more than anybody sees: the job's readers get one a second
_FIRST_LOOK_SECONDS = 0.1  # at children, or for a callback; then ever less often
_LAST_LOOK_SECONDS = 2.0


class ChildContext:
    """A ``heliograph.backends.JobContext``."""

    def __init__(self, run: Run, folder: Folder, channel: Channel, stopping: Stopping) -> None:
        self.id = run.job
        self.attempt = run.attempt
        self.deadline: datetime | None = run.deadline
        self.scratch = folder.work
        self._folder = folder
        self._channel = channel
        self._stopping = stopping
        self._remembered: dict[str, Any] = json.loads(run.remembered)
        self._made = 0
        self._submitted: Counter[str] = Counter()  # by their content
        self._callbacks_seen = 0
        self._lock = threading.Lock()
        self._allowance = _Allowance()

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop."""
        return self._stopping.asked

    @property
    def stop_reason(self) -> str | None:
        """Why it is to stop; see ``JobContext``."""
        if not self.cancelled:
            return None
        told = self._channel.ask(Topic.STOP_REASON, None)
        return str(told or "shutdown")  # a signal from elsewhere, as when a whole system shuts down

    @property
    def remembered(self) -> Mapping[str, Any]:
        """What is kept with the job; see ``JobContext``."""
        return MappingProxyType(self._remembered)

    @property
    def callback_url(self) -> str:
        """An address for outside systems; see ``JobContext``."""
        return str(self._channel.ask(Topic.CALLBACK_URL, None))

    def progress(
        self,
        fraction: float | None = None,
        *,
        stage: str | None = None,
        eta: timedelta | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is; see ``JobContext``."""
        if not self._allowance.take():
            return
        report, ignored = progress_of(fraction, stage, eta, message)
        for line in ignored:
            self.log(line)
        if report:
            self._channel.send(
                Progress(
                    fraction=report.fraction,
                    stage=report.stage,
                    eta_seconds=report.eta_seconds,
                    message=report.message,
                )
            )

    def log(self, text: str) -> None:
        """Add a line to the log."""
        print(text, flush=True)  # noqa: T201 - standard output is the job's log

    def artifact(self, name: str, content: bytes | Path | BinaryIO, *, media_type: str | None = None) -> None:
        """Keep a file with the job; see ``JobContext``."""
        check_name(name)
        with self._lock:
            self._made += 1
            number = self._made
        place = self._folder.artifacts / str(number)
        if isinstance(content, bytes | bytearray | memoryview):
            place.write_bytes(content)
        elif isinstance(content, str | Path):
            shutil.copyfile(content, place)
        else:
            with place.open("wb") as target:
                shutil.copyfileobj(content, target)
        media_type = clean(media_type or media_type_of(name), MOST_TOLD)
        self._channel.send(ArtifactMade(name=name, number=number, media_type=media_type))

    def remember(self, **values: Any) -> None:
        """Keep values with the job; see ``JobContext``."""
        kept = json.loads(remembered_json(self._remembered | values))
        self._channel.ask(Topic.REMEMBER, kept)
        self._remembered = kept

    def submit(self, backend: str, parameters: Mapping[str, Any], **fields: Any) -> str:
        """Submit a child; see ``JobContext``."""
        body = json.loads(submission_json({"backend": backend, "parameters": dict(parameters), **fields}))
        content = json.dumps(body, sort_keys=True)
        with self._lock:
            self._submitted[content] += 1
            number = self._submitted[content]
        return str(self._channel.ask(Topic.SUBMIT, {"number": number, "body": body}))

    def wait(self, jobs: Iterable[str], *, timeout: timedelta | None = None) -> list[ChildJob]:
        """Wait for children; see ``JobContext``."""
        ids = list(jobs)
        for _ in _looks(timeout):
            if all(State(state) in OVER for state in self._states(ids)):
                break
        # One by one, for each may bring a result of a megabyte; this also says that nobody waits any more.
        return [_child(self._channel.ask(Topic.CHILD, each)) for each in ids]

    def next_callback(self, timeout: timedelta | None = None) -> Callback | None:
        """Wait for what an outside system tells; see ``JobContext``."""
        for _ in _looks(timeout):
            if found := self._channel.ask(Topic.NEXT_CALLBACK, self._callbacks_seen):
                self._callbacks_seen = found["number"]
                return Callback(found["body"], datetime.fromisoformat(found["at"]))
        return None

    def _states(self, ids: list[str]) -> list[str]:
        try:
            found: list[str] = self._channel.ask(Topic.CHILDREN, ids)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return found


def _looks(timeout: timedelta | None) -> Iterator[None]:
    """Come back ever less often until the time is over; at least once."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout.total_seconds()
    pause = _FIRST_LOOK_SECONDS
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS)


def _child(found: Mapping[str, Any]) -> ChildJob:
    error = found["error"]
    told = JobError(ErrorKind(error["kind"]), error["message"], error["traceback"]) if error else None
    return ChildJob(found["id"], State(found["state"]), found["result"], told)


class _Allowance:
    """A token bucket."""

    def __init__(self) -> None:
        self._left = float(_BURST)
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
