"""The rest of a channel whose server asked for it, or is away."""

import time
from datetime import timedelta

from heliograph.backoff import Backoff


class Rest:
    """The rest of one channel: while it lasts nothing is sent there; each failed return makes the next one longer."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self._until = 0.0

    @property
    def remaining(self) -> timedelta:
        """How long it still lasts; zero or less when it is over."""
        return timedelta(seconds=self._until - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether something may be sent."""
        return self.remaining <= timedelta(0)

    def begin(self, length: timedelta | None = None) -> timedelta:
        """Rest, and return for how long; what several senders meet at the same moment counts once.

        ``length`` is how long the server asked for, where it did.
        """
        if self.is_over:
            self._failures += 1
            self._until = time.monotonic() + (length or self._backoff.wait(self._failures)).total_seconds()
        return self.remaining

    def end(self) -> None:
        """Forget earlier failures: the server took something."""
        self._failures = 0
