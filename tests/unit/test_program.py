"""A program's output is taken to its last byte, however little time a busy machine leaves to who takes it."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Self

import pytest

from heliograph_worker.backends import program
from heliograph_worker.backends.program import Output, _Pump, run_program

WRITTEN = 20_000


class SlowLog:
    """A log that takes longer over each piece than a stream is given to end."""

    @property
    def buffer(self) -> "SlowLog":
        return self

    def write(self, piece: bytes) -> int:
        time.sleep(0.1)
        return len(piece)

    def flush(self) -> None:
        """Keep nothing back."""


def test_what_was_written_before_the_end_is_taken_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_LAST_WORDS_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", SlowLog())
    ended = run_program(["sh", "-c", f"printf %0{WRITTEN}d 0"], tmp_path, output=Output.BOTH)
    assert (ended.code, len(ended.output)) == (0, WRITTEN)


class Interrupted:
    """A stream whose reader is not given the processor any more, right after it has read, until it ``goes_on``."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.has_read = threading.Event()
        self.goes_on = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()

    def fileno(self) -> int:
        return self._stream.fileno()

    def read1(self, size: int) -> bytes:
        piece: bytes = self._stream.read1(size)  # type: ignore[attr-defined] # a pipe is buffered
        self.has_read.set()
        self.goes_on.wait(30)
        return piece


def test_what_is_read_and_not_yet_kept_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_LAST_WORDS_SECONDS", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe:  # and open to the last: by what the program left running
        pipe.write(b"result")
        stream = Interrupted(os.fdopen(reading, "rb"))
        pump = _Pump(stream, keeps=100, to_log=False)  # type: ignore[arg-type] # as much of a stream as it needs
        assert stream.has_read.wait(30)
        threading.Timer(0.3, stream.goes_on.set).start()
        pump.finish()
        assert bytes(pump.kept) == b"result"
