"""How long to wait before the next try: doubling, bounded, with jitter."""

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits from ``first``, doubling with each failure, to ``ceiling``; each a random half shorter at most."""

    first: timedelta
    ceiling: timedelta

    def wait(self, failures: int) -> timedelta:
        """Return how long to wait after this many failures in a row (1 is the first)."""
        doublings = min(max(failures - 1, 0), 32)  # more would only make a longer number to cut
        longest: timedelta = min(self.first * 2**doublings, self.ceiling)
        jitter: float = random.uniform(0.5, 1)  # noqa: S311 - spreads tries, guards nothing
        return longest * jitter
