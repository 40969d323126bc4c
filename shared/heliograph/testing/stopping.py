"""How a wish to stop reaches the backend's code: by SIGTERM, as in a worker's child process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from heliograph.backends.errors import Cancelled
from heliograph.jobs.states import ErrorKind


class Stopping:
    """Whether a run is to stop, and why: ``ErrorKind.TIMEOUT`` or ``CANCELLED``."""

    def __init__(self) -> None:
        self.reason: ErrorKind | None = None
        self._interrupts = False
        self._cancel: Callable[[], object] | None = None
        self._before: signal._HANDLER = signal.SIG_DFL
        self._lock = threading.Lock()

    def ask(self, reason: ErrorKind) -> None:
        """Wish it to stop; the first reason counts."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
        if self._cancel:
            self._cancel()
        elif self._interrupts:
            main = threading.main_thread().ident
            assert main
            signal.pthread_kill(main, signal.SIGTERM)

    def cancel_by(self, cancel: Callable[[], object]) -> None:
        """Stop by ``cancel`` from now on, in place of raising; at once where it was asked already."""
        self._cancel = cancel
        if self.reason is not None:
            cancel()

    @contextmanager
    def armed(self, limit: timedelta | None) -> Iterator[None]:
        """Raise ``Cancelled`` in the block when asked to stop, or after ``limit``; in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        timer = threading.Timer(limit.total_seconds(), self.ask, [ErrorKind.TIMEOUT]) if limit else None
        self._before = signal.signal(signal.SIGTERM, self._on_signal)
        self._interrupts = True
        try:
            if timer:
                timer.start()
            yield
        finally:
            self._interrupts = False
            signal.signal(signal.SIGTERM, self._before)
            if timer:
                timer.cancel()
                timer.join()

    def _on_signal(self, *_: object) -> None:
        if self.reason is None:  # it is meant for the whole process, or for the run around this one
            signal.signal(signal.SIGTERM, self._before)
            signal.raise_signal(signal.SIGTERM)
        elif self._interrupts and not self._cancel:
            self._interrupts = False
            raise Cancelled
