"""How much waits and is held in queues, read from one index without a look at any job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from heliograph.jobs.states import ACTIVE, State
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database
from heliograph.storage.errors import translated


@dataclass(frozen=True, slots=True)
class Count:
    """The jobs of a queue by state, of those that are not over, and when the oldest that waits was submitted."""

    states: Mapping[State, int] = field(default_factory=dict)
    oldest_queued: datetime | None = None

    @property
    def total(self) -> int:
        """How many there are in all."""
        return sum(self.states.values())


class Counts:
    """Counts what is not over."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def of(self, queues: Sequence[str]) -> dict[str, Count]:
        """Return the count of each of these queues."""
        stages = [
            {"$match": {"queue": {"$in": list(queues)}, "state": {"$in": list(ACTIVE)}}},
            {
                "$group": {
                    "_id": {"queue": "$queue", "state": "$state"},
                    "number": {"$sum": 1},
                    "oldest": {"$min": "$created_at"},
                }
            },
        ]
        numbers: dict[str, dict[State, int]] = {queue: {} for queue in queues}
        oldest: dict[str, datetime] = {}
        with translated():
            async for row in self._jobs.aggregate(stages, hint="counts"):
                queue, state = row["_id"]["queue"], State(row["_id"]["state"])
                numbers[queue][state] = row["number"]
                if state is State.QUEUED:
                    oldest[queue] = row["oldest"]
        return {queue: Count(numbers[queue], oldest.get(queue)) for queue in queues}
