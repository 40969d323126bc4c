"""How long to wait before the next try: of one notice, and of a channel that asked for rest."""

import random
import time
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first`` to ``most``, each varied by a quarter so that many do not return at once."""

    first: timedelta = timedelta(seconds=5)
    most: timedelta = timedelta(minutes=15)

    def wait(self, tries: int) -> timedelta:
        """Return how long to wait after so many earlier tries."""
        doubled = self.first * (1 << min(tries, 20))  # beyond that, every sensible ``most`` is reached
        return min(doubled, self.most) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter


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

    def begin(self) -> timedelta:
        """Rest, and return for how long; what several senders meet at the same moment counts once."""
        if self.is_over:
            self._until = time.monotonic() + self._backoff.wait(self._failures).total_seconds()
            self._failures += 1
        return self.remaining

    def end(self) -> None:
        """Forget earlier failures: the server took something."""
        self._failures = 0
