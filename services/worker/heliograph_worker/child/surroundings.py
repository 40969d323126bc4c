"""What a job may change of its process without leaving anything running: put back before the next one."""

import os
import resource
import signal

# What ``signal.getsignal`` wraps, which makes an enum of each answer: 64 of them took a third of a short job.
from _signal import getsignal as _getsignal  # type: ignore[import-not-found] # it ships no types
from contextlib import suppress

_LIMITS = tuple(
    getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_DATA"
)
_SIGNALS = tuple(int(number) for number in signal.valid_signals())


class Surroundings:
    """The environment, the umask, timers, limits, blocked signals and signal handlers, as they were when last kept."""

    def __init__(self) -> None:
        self.keep()

    def keep(self) -> None:
        """Remember how they are now."""
        self._environment = dict(os.environ)
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = _handlers()
        self._limits = _limits()

    def restore(self) -> bool:
        """Make them as they were; return whether that could be done."""
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        for number, handler in _handlers().items():
            if handler != (before := self._handlers[number]):
                with suppress(OSError, TypeError):  # None, which cannot be set, stands for a handler of C code
                    signal.signal(number, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        os.umask(self._umask)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        return _handlers() == self._handlers and _limits() == self._limits


def _handlers() -> "dict[int, signal._HANDLER]":
    return {number: _getsignal(number) for number in _SIGNALS}


def _limits() -> list[tuple[int, int]]:
    """Return the limits of the process, without that of its memory, which is set for each job."""
    return [resource.getrlimit(number) for number in _LIMITS]
