"""When a failed job is tried again: a value that decides, without a clock or dice of its own."""

from dataclasses import dataclass
from datetime import timedelta

from heliograph.jobs.states import ErrorKind

RETRYABLE = frozenset({ErrorKind.TRANSIENT, ErrorKind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with a cap and jitter.

    Parameters
    ----------
    kinds
        The errors after which to try again; a subset of ``RETRYABLE``. Empty: never.
    first
        The wait after the first attempt.
    factor
        By how much each further wait is longer.
    most
        The longest wait.
    jitter
        The share of a wait, 0 to 1, that chance may take off, so that jobs that failed together do not return together.
    """

    kinds: frozenset[ErrorKind] = RETRYABLE
    first: timedelta = timedelta(seconds=5)
    factor: float = 2
    most: timedelta = timedelta(minutes=5)
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not self.kinds <= RETRYABLE:
            excess = ", ".join(sorted(self.kinds - RETRYABLE))
            raise ValueError(f"kinds: only transient and timeout errors are tried again, not {excess}")
        if not timedelta() <= self.first <= self.most:
            raise ValueError("first: must lie between zero and most")
        if not self.factor >= 1:
            raise ValueError("factor: must be at least 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter: must lie in 0..1")

    def delay(self, attempt: int, random: float) -> timedelta:
        """Return how long to wait after ``attempt`` (from 1) failed; ``random`` is drawn from 0..1."""
        try:
            grown = self.first * self.factor ** (attempt - 1)
        except OverflowError:
            grown = self.most
        return min(grown, self.most) * (1 - self.jitter * random)
