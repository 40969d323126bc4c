"""What may be claimed from queues that limit how many of their jobs are held at a time.

A held job of such a queue occupies places: one of the queue's, and one of its owner's there. They stand in the job
itself, under a unique index, and go with its lease in the write that ends that; so none can be occupied twice, and none
stays occupied by nobody, whatever dies.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from heliograph.jobs.limits import Limits
from heliograph.jobs.states import State
from heliograph.storage import Collection
from heliograph.storage.errors import translated

BY_RANK = [("priority", -1), ("_id", 1)]
_SEPARATOR, _BEYOND = "\x1f", "\x20"  # no name holds the first, and the second comes next
_OWNERS_AT_ONCE = 100  # the server merges up to 200 ranges of an index in order; beyond, it sorts all that they hold
_EVERYBODY = ""  # stands for the queue itself where an owner stands for their own places


def waiting(queues: Sequence[str], below: Sequence[str] = ()) -> dict[str, Any]:
    """Return the filter of what waits in these queues, at the head or ``below`` some jobs, and may be claimed."""
    where: dict[str, Any] = {"state": State.QUEUED.value, "due": True, "queue": {"$in": list(queues)}}
    return {**where, "ancestors": {"$in": list(below)}} if below else where


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that may be claimed, and the places that it would occupy."""

    job: str
    priority: int
    places: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[int, str]:
        """What orders candidates: the lowest goes first."""
        return -self.priority, self.job


@dataclass(slots=True)
class _Occupied:
    """The numbers of the occupied places of a queue, by owner."""

    numbers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def is_full(self, owner: str, most: int | None) -> bool:
        return most is not None and len(self.numbers[owner]) >= most

    def full_owners(self, most: int | None) -> list[str]:
        return [owner for owner in list(self.numbers) if owner != _EVERYBODY and self.is_full(owner, most)]

    def free(self, owner: str) -> int:
        return next(number for number in count() if number not in self.numbers[owner])


class Lanes:
    """Looks for what may be claimed next from limited queues."""

    def __init__(self, jobs: Collection) -> None:
        self._jobs = jobs

    async def first(self, limits: Mapping[str, Limits], below: Sequence[str] = ()) -> Candidate | None:
        """Return what comes first in these limited queues among what their limits let pass."""
        heads = [head for queue, limit in limits.items() if (head := await self._head(queue, limit, below))]
        return min(heads, key=lambda head: head.rank, default=None)

    async def first_unlimited(self, queues: Sequence[str], below: Sequence[str] = ()) -> Candidate | None:
        """Return what comes first in queues without limits."""
        found = await self._find(waiting(queues, below))
        return Candidate(found["_id"], found["priority"]) if found else None

    async def _head(self, queue: str, limits: Limits, below: Sequence[str]) -> Candidate | None:
        found = await self._find(waiting([queue], below))
        if found is None:
            return None
        occupied = await self._occupied(queue)
        if occupied.is_full(_EVERYBODY, limits.total):
            return None
        full = occupied.full_owners(limits.per_owner)
        if found["owner"] in full:
            found = await self._first_of_others(queue, full, below)
        if found is None:
            return None
        places = [(_EVERYBODY, limits.total), (found["owner"], limits.per_owner)]
        named = tuple(_place(queue, whose, occupied.free(whose)) for whose, most in places if most is not None)
        return Candidate(found["_id"], found["priority"], named)

    async def _first_of_others(self, queue: str, full: Sequence[str], below: Sequence[str]) -> Mapping[str, Any] | None:
        """Find the first job of those owners who have a place left, without a look at the jobs of the others.

        One may have 50,000 waiting. The owners who wait are read by skipping from one to the next in the index, and
        then the index is read at the first job of each.
        """
        if below:  # few
            return await self._find({**waiting([queue], below), "owner": {"$nin": list(full)}})
        where = {**waiting([queue]), "queue": queue}
        with translated():
            owners = sorted(set(await self._jobs.distinct("owner", where)) - set(full))
        heads = [
            head
            for some in _in_parts(owners)
            if (head := await self._find({**where, "owner": {"$in": some}}, hint="owners"))
        ]
        return min(heads, key=lambda head: (-head["priority"], head["_id"]), default=None)

    async def _find(self, where: Mapping[str, Any], hint: str | None = None) -> Mapping[str, Any] | None:
        with translated():
            found: Mapping[str, Any] | None = await self._jobs.find_one(
                where, {"owner": 1, "priority": 1}, sort=BY_RANK, hint=hint
            )
        return found

    async def _occupied(self, queue: str) -> _Occupied:
        occupied = _Occupied()
        within = {"$elemMatch": {"$gte": queue + _SEPARATOR, "$lt": queue + _BEYOND}}
        with translated():
            async for document in self._jobs.find({"slots": within}, {"slots": 1}):
                for place in document["slots"]:
                    _, owner, number = place.split(_SEPARATOR)
                    occupied.numbers[owner].add(int(number))
        return occupied


def _place(queue: str, owner: str, number: int) -> str:
    return _SEPARATOR.join((queue, owner, str(number)))


def _in_parts(owners: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(owners), _OWNERS_AT_ONCE):
        yield owners[begin : begin + _OWNERS_AT_ONCE]
