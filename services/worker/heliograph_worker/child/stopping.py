"""How a wish to stop, which arrives as SIGTERM, reaches the backend's code."""

import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType

from heliograph.backends.errors import Cancelled


class Stopping:
    """Whether the present job is to stop. As a context, it holds ``Cancelled`` back (in the main thread).

    A message to the worker is sent within this context: half a message would make the rest unreadable.
    """

    def __init__(self) -> None:
        self.asked = False
        self._armed = False
        self._held = 0
        self._cancel: Callable[[], object] | None = None

    def install(self) -> None:
        """Listen for SIGTERM from now on; between jobs it means nothing.

        Processes that a job forks end by it as any do: a pool of them is ended so, and would wait for one that took
        it for a wish to the job.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        os.register_at_fork(after_in_child=_end_by_the_signal)

    def arm(self) -> None:
        """Begin a job: a wish to stop now raises ``Cancelled``, once."""
        self.asked = False
        self._armed = True

    def disarm(self) -> None:
        """End it."""
        self._armed = False
        self._cancel = None

    def cancel_by(self, cancel: Callable[[], object]) -> None:
        """Stop the job by ``cancel`` from now on, in place of raising; at once where it was asked already."""
        self._cancel = cancel
        if self.asked:
            cancel()

    def _on_signal(self, *_: object) -> None:
        if not self._armed:
            return
        self.asked = True
        if self._cancel:
            self._cancel()
        elif not self._held:
            self._raise()

    def _raise(self) -> None:
        self._armed = False
        raise Cancelled

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._held += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            self._held -= 1
            if not self._held and self.asked and self._armed and not self._cancel:
                self._raise()


def _end_by_the_signal() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
