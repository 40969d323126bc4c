"""Standard output and error of a job: at the level of descriptors, so that subprocesses and C code go along."""

import ctypes
import os
import sys
from contextlib import suppress
from typing import TextIO


class Output:
    """The process's own output, and its diversion into the pipe of one job after the other."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._streams = (sys.stdout, sys.stderr)
        self._own = (os.dup(1), os.dup(2))
        for stream in self._streams:
            # A line is visible when it is printed, and no text makes print fail.
            _reconfigure(stream)

    def divert(self, pipe: int) -> None:
        """Send what is printed from now on into ``pipe``, which this takes over."""
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        os.close(pipe)

    def silence(self) -> None:
        """Say nothing outside of jobs from now on: a thread that a job leaves behind goes on where nobody masks."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for own in self._own:
            os.dup2(nowhere, own)
        os.close(nowhere)

    def restore(self) -> bool:
        """Flush all into the pipe and let go of it; return whether a next job finds its streams as they should be."""
        intact = (sys.stdout, sys.stderr) == self._streams and not any(stream.closed for stream in self._streams)
        for stream in {sys.stdout, sys.stderr, *self._streams}:
            with suppress(Exception):  # a stream that the backend put there, or closed
                stream.flush()
        sys.stdout, sys.stderr = self._streams
        self._libc.fflush(None)
        for number, own in zip((1, 2), self._own, strict=True):
            os.dup2(own, number)
        return intact


def _reconfigure(stream: TextIO) -> None:
    stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[attr-defined] # it is a TextIOWrapper
