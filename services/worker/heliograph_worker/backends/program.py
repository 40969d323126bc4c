"""Running a program for a job: what it says goes to the job's log as it comes, and how it ended is returned."""

import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import threading
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import IO

from heliograph.backends import Cancelled, FatalError, UsageError
from heliograph.backends.failures import MOST_TOLD, clean
from heliograph.backends.result import MAX_BYTES

_PIECE = 64 * 1024
_TAIL = MOST_TOLD  # bytes of standard error that are looked at for its last line
_LAST_WORDS_SECONDS = 1.0  # for a stream to end once the program has; what that left running may hold it open
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, or a signal's number, negated; ``output`` where it was captured."""

    program: str
    code: int
    last_line: str
    output: bytes = b""
    is_too_long: bool = False

    def told(self) -> str:
        """Say it in a sentence, with the last line that it wrote to standard error."""
        how = f"with exit code {self.code}" if self.code >= 0 else f"by {_signal_name(-self.code)}"
        return f"{self.program} ended {how}" + (f": {self.last_line}" if self.last_line else "")


class Output(Enum):
    """Where a program's standard output goes: into the job's log, to whoever ran it, or both."""

    LOG = "log"
    RESULT = "result"
    BOTH = "both"


class _Pump:
    """Takes one stream of a program in a thread of its own, and keeps its beginning or, with ``tail``, its end."""

    def __init__(self, stream: IO[bytes], *, keeps: int, to_log: bool, tail: bool = False) -> None:
        self._stream = stream
        self._keeps = keeps
        self._to_log = to_log
        self._tail = tail
        self.kept = bytearray()
        self.total = 0
        self._done = 0  # bytes that are kept and told
        self._reading = threading.Lock()  # a byte is in the pipe or in ``total``, for whoever holds it
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._stream:
            while piece := self._next():
                if self._to_log:
                    sys.stderr.buffer.write(piece)
                    sys.stderr.buffer.flush()
                if self._tail:
                    self.kept = (self.kept + piece)[-self._keeps :]
                elif self.total <= self._keeps:
                    self.kept += piece
                self._done += len(piece)

    def _next(self) -> bytes:
        """Wait for something to read without holding the lock, then read and count what there is."""
        ready = select.poll()
        ready.register(self._stream, select.POLLIN)
        ready.poll()
        with self._reading:
            piece: bytes = self._stream.read1(_PIECE)  # type: ignore[attr-defined] # a pipe of Popen is buffered
            self.total += len(piece)
        return piece

    def finish(self) -> None:
        """Wait for all that the program wrote, however long a busy machine takes, and a moment for the stream's end."""
        with self._reading:
            written = self.total + self._waiting()
        while self._thread.is_alive() and self._done < written:
            self._thread.join(_LOOK_SECONDS)
        self._thread.join(_LAST_WORDS_SECONDS)

    def _waiting(self) -> int:
        """Return how many bytes lie in the pipe."""
        count = array("i", [0])
        with suppress(OSError, ValueError):  # it is closed: nothing is left
            fcntl.ioctl(self._stream.fileno(), termios.FIONREAD, count)
        return count[0]


def run_program(
    argv: Sequence[str], folder: Path, *, output: Output = Output.LOG, called: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Ended:  # fmt: skip
    """Run a program in ``folder``, with these variables besides this process's own, and wait for its end.

    A signal that stops the job reaches the program as well: this waits for it to clean up, until both are killed.

    Raises
    ------
    FatalError
        It cannot be started.
    UsageError
        Its arguments are longer than the system takes.
    """
    called = called or Path(argv[0]).name
    errors = captured = None
    try:
        process = _start(argv, folder, called, variables, captures=output is not Output.LOG)
        assert process.stderr
        errors = _Pump(process.stderr, keeps=_TAIL, to_log=True, tail=True)
        if process.stdout:
            captured = _Pump(process.stdout, keeps=MAX_BYTES, to_log=output is Output.BOTH)
        code = process.wait()
    except Cancelled:
        _wait_for_all()  # not for ``process``: the wish may have come before that had a name
        raise
    finally:
        for pump in filter(None, (errors, captured)):
            pump.finish()
    kept, is_too_long = (bytes(captured.kept), captured.total > MAX_BYTES) if captured else (b"", False)
    return Ended(called, code, _last_line(bytes(errors.kept)), kept, is_too_long)


def _start(
    argv: Sequence[str], folder: Path, called: str, variables: Mapping[str, str], *, captures: bool
) -> subprocess.Popen[bytes]:
    output = subprocess.PIPE if captures else None
    environment = {**os.environ, **variables} if variables else None
    try:
        return subprocess.Popen(  # noqa: S603 - the program is the operator's choice, and no shell reads its arguments
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE
        )
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise UsageError("the parameters are longer than a program's arguments may be") from None
        raise FatalError(f"{called} cannot be started on this worker: {error.strerror}") from None


def _wait_for_all() -> None:
    """Wait for all child processes, of which a job without a program of its own has none."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _last_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    shown = "".join(character if character.isprintable() else " " for character in lines[-1]) if lines else ""
    return clean(shown, MOST_TOLD)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
