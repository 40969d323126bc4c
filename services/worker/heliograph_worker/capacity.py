"""How much more this worker may take on, and of what."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

# What is claimed beyond the free slots waits about so long for one: a claim takes 1 ms and more on its way, and many
# at once cost little more than one; but what waits here could have begun on another worker.
AHEAD = timedelta(milliseconds=50)
MOST_AHEAD = 32
_WEIGHT = 0.2  # of the last job, in the mean of how long jobs take


@dataclass(frozen=True, slots=True)
class Room:
    """What may be claimed next: from these queues and, where ``below`` names jobs, only what descends from those.

    ``places`` is how many.
    """

    queues: tuple[str, ...]
    below: tuple[str, ...] = ()
    places: int = 1


class Capacity:
    """Counts the jobs at work here.

    One that waits for its children lends its slot, but to what descends from it alone: whoever else came in would fill
    the worker with jobs that wait, too, while the children of none of them ever begin.

    Parameters
    ----------
    slots
        How many jobs may be at work at a time.
    per_backend
        How many of one backend, for those that say so.
    clock
        Tells seconds.
    """

    def __init__(self, slots: int, per_backend: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._per_backend = per_backend
        self._at_work: dict[str, tuple[str, str]] = {}  # the lease's token, to the job and its backend
        self._waiting: dict[str, str] = {}
        self._begun: dict[str, float] = {}
        self._mean: float | None = None  # seconds that a job takes
        self._clock = clock

    def __len__(self) -> int:
        return len(self._at_work)

    def begin(self, token: str, job: str, backend: str) -> None:
        """Count a job."""
        self._at_work[token] = job, backend

    def has_slot(self, token: str) -> None:
        """Note that it has its slot: now it begins."""
        self._begun[token] = self._clock()

    def end(self, token: str) -> None:
        """Count it no longer."""
        self._at_work.pop(token, None)
        self._waiting.pop(token, None)
        if begun := self._begun.pop(token, None):
            seconds = self._clock() - begun
            self._mean = seconds if self._mean is None else self._mean + _WEIGHT * (seconds - self._mean)

    def wait(self, token: str, *, waits: bool) -> bool:
        """Note whether a job waits for its children; return whether that is news."""
        known = token in self._waiting
        if waits and token in self._at_work:
            self._waiting[token] = self._at_work[token][0]
        elif not waits:
            self._waiting.pop(token, None)
        return known != (token in self._waiting)

    def room(self, queues: Sequence[str]) -> Room | None:
        """Return what may be claimed now from these queues; None where nothing may."""
        busy = Counter(backend for _, backend in self._at_work.values())
        fit = tuple(
            queue for queue in queues if queue not in self._per_backend or busy[queue] < self._per_backend[queue]
        )
        if not fit:
            return None
        free = self._slots - len(self._at_work)
        if any(queue in self._per_backend for queue in fit):
            places = min(free, 1)  # one by one, so that none gets more than its share
        else:
            ahead = self._ahead()
            places = free + ahead if self._at_work else 1  # after a pause, the first one comes soonest alone
            if free <= 0 < ahead and 2 * places < ahead:
                return None  # several at once later are cheaper than one now
        if places > 0:
            return Room(fit, places=places)
        return Room(fit, tuple(self._waiting.values())) if places + len(self._waiting) > 0 else None

    def _ahead(self) -> int:
        """Return how many short jobs may be claimed before a slot is free for them."""
        if self._mean is None or self._waiting:
            return 0
        return min(MOST_AHEAD, round(AHEAD.total_seconds() * self._slots / max(self._mean, 1e-3)))
