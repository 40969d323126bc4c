"""How much more this worker may take on, and of what."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

# What is claimed beyond the free slots waits about so long for one: a claim takes 1 ms and more on its way, and many
# at once cost little more than one; but what waits here could have begun on another worker.
AHEAD = timedelta(milliseconds=50)
MOST_AHEAD = 32
LONG = 4 * AHEAD  # a job that has had its slot for so long is none of the short ones: nothing is claimed ahead for it
_WEIGHT = 0.2  # of the last job, in the mean of how long jobs take


@dataclass(frozen=True, slots=True)
class Room:
    """What may be claimed next: from these queues and, where ``below`` names jobs, only what descends from those.

    ``places`` is how many in all, ``shares`` how many of a queue, for those that say so.
    """

    queues: tuple[str, ...]
    below: tuple[str, ...] = ()
    places: int = 1
    shares: Mapping[str, int] = field(default_factory=dict)


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
        shares = {queue: most - busy[queue] for queue, most in self._per_backend.items() if queue in queues}
        fit = tuple(queue for queue in queues if shares.get(queue, 1) > 0)
        if not fit:
            return None
        shares = {queue: left for queue, left in shares.items() if left > 0}
        ahead = self._ahead()
        free = self._slots - len(self._at_work)
        if free <= 0 < ahead and 2 * (free + ahead) < ahead:
            return None  # several at once later are cheaper than one now
        places = free + ahead if self._at_work else 1  # after a pause, the first one comes soonest alone
        if places > 0:
            return Room(fit, (), places, shares)
        return Room(fit, tuple(self._waiting.values())) if places + len(self._waiting) > 0 else None

    def has_begun(self, token: str) -> bool:
        """Say whether it has its slot, or is not here any more."""
        return token in self._begun or token not in self._at_work

    def _ahead(self) -> int:
        """Return how many short jobs may be claimed before a slot is free for them."""
        if self._mean is None or self._waiting:
            return 0
        now = self._clock()
        slots = self._slots - sum(now - begun > LONG.total_seconds() for begun in self._begun.values())
        return min(MOST_AHEAD, round(AHEAD.total_seconds() * slots / max(self._mean, 1e-3)))
