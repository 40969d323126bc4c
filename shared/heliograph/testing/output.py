"""What a backend prints: caught at the level of descriptors, so that subprocesses and C code go along."""

import ctypes
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


class Log:
    """The text that was caught; complete once the block of ``caught`` has ended."""

    def __init__(self) -> None:
        self.text = ""


@contextmanager
def caught(*, echo: bool) -> Iterator[Log]:
    """Catch all that this process prints; with ``echo``, print it at the end, where pytest or a notebook shows it."""
    log = Log()
    with tempfile.TemporaryFile(buffering=0) as file:
        try:
            with _diverted(file):
                yield log
        finally:
            file.seek(0)
            log.text = file.read().decode(errors="replace")
            if echo:
                sys.stdout.write(log.text)


@contextmanager
def _diverted(file: BinaryIO | io.FileIO) -> Iterator[None]:
    streams = (sys.stdout, sys.stderr)
    _flush(*streams)
    own = (os.dup(1), os.dup(2))
    stream = io.TextIOWrapper(
        os.fdopen(os.dup(file.fileno()), "wb"), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    try:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = stream
        yield
    finally:
        _flush(sys.stdout, sys.stderr, stream)
        sys.stdout, sys.stderr = streams
        for number, descriptor in zip((1, 2), own, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        stream.close()


def _flush(*streams: object) -> None:
    for stream in streams:
        with suppress(Exception):  # a stream that the backend put there, or closed
            stream.flush()  # type: ignore[attr-defined] # whatever it is
    ctypes.CDLL(None).fflush(None)
