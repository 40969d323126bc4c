"""The job's context in the child process: what it tells travels to the worker."""

import math
import shutil
import socket
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

from heliograph.backends.artifacts import check_name, media_type_of
from heliograph_worker.child.failures import clean
from heliograph_worker.child.stopping import Stopping
from heliograph_worker.folder import Folder
from heliograph_worker.protocol import ArtifactMade, FromChild, Progress, Run, frame

_LONGEST_STAGE = 100  # characters; a word or two in a table
_LONGEST_MESSAGE = 1_000
_BURST = 100  # so many progress reports pass at once; a loop that tells of each turn is then thinned out
_PER_SECOND = 20  # more than anybody sees: the job's readers get one a second


class Channel:
    """The control socket, for any thread to send on."""

    def __init__(self, control: socket.socket, stopping: Stopping) -> None:
        self._control = control
        self._stopping = stopping
        self._lock = threading.Lock()

    def send(self, message: FromChild) -> None:
        """Send one message, whole."""
        data = frame(message)
        with self._stopping, self._lock:
            self._control.sendall(data)


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
        self._made = 0
        self._lock = threading.Lock()
        self._allowance = _Allowance()

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop."""
        return self._stopping.asked

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
        report = Progress(
            fraction=self._checked("a progress that is not in 0..1:", fraction, _number(fraction), most=1),
            stage=None if stage is None else clean(str(stage), _LONGEST_STAGE),
            eta_seconds=self._checked("an eta that is no duration:", eta, _number(eta)),
            message=None if message is None else clean(str(message), _LONGEST_MESSAGE),
        )
        if report != Progress():
            self._channel.send(report)

    def log(self, text: str) -> None:
        """Add a line to the log."""
        print(text, flush=True)  # noqa: T201 - standard output is the job's log

    def artifact(self, name: str, content: bytes | Path, *, media_type: str | None = None) -> None:
        """Keep a file with the job; see ``JobContext``."""
        check_name(name)
        with self._lock:
            self._made += 1
            number = self._made
        place = self._folder.artifacts / str(number)
        if isinstance(content, bytes | bytearray | memoryview):
            place.write_bytes(content)
        else:
            shutil.copyfile(content, place)
        media_type = clean(media_type or media_type_of(name), _LONGEST_STAGE)
        self._channel.send(ArtifactMade(name=name, number=number, media_type=media_type))

    def _checked(self, what: str, given: object, number: float, most: float = math.inf) -> float | None:
        """Return a number that can be told; else say so in the log, and go on without."""
        if given is None:
            return None
        if 0 <= number <= most and math.isfinite(number):
            return number
        self.log(f"heliograph: ignored {what} {clean(repr(given), _LONGEST_STAGE)}")
        return None


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


def _number(given: object) -> float:
    """Return a fraction or a duration as a number, also where it is of numpy; NaN where it is none."""
    try:
        return given.total_seconds() if isinstance(given, timedelta) else float(given)  # type: ignore[arg-type] # tried
    except (TypeError, ValueError, OverflowError):
        return math.nan
