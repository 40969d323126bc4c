"""A program's output is taken to its last byte, however little time a busy machine leaves to who takes it."""

import sys
import time
from pathlib import Path

import pytest

from heliograph_worker.backends import program
from heliograph_worker.backends.program import Output, run_program

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
