"""Claiming for one worker: what its operator leaves open, within its limits, several at once where jobs are short."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from heliograph.announcements import Announcements
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Job
from heliograph.jobs.store import ClaimStore, UpkeepStore
from heliograph.storage import Database
from heliograph_worker.capacity import Room
from heliograph_worker.rules import Rules


class Claiming:
    """Takes from the database what there is room for."""

    def __init__(self, database: Database, worker: str, lease: timedelta, backends: Sequence[str]) -> None:
        self._claims = ClaimStore(database)
        self._upkeep = UpkeepStore(database)
        self._worker = worker
        self._lease = lease
        self._rules = Rules(Announcements(database), backends)

    async def claim(self, room: Room) -> Sequence[Job]:
        """Return what is ours now; empty where nothing is eligible. A job that its claim ended is among it as well."""
        if recovered := await self._claims.recover():
            return recovered
        limits = await self._rules.open()
        queues = [queue for queue in room.queues if queue in limits]
        if not queues:
            return ()
        claimed = await self._take(queues, limits, room)
        if not claimed and await self._upkeep.make_due():
            claimed = await self._take(queues, limits, room)
        return claimed

    def is_limited(self, queue: str) -> bool:
        """Say whether a job that ends may have made room for one that another worker could begin."""
        return self._rules.is_limited(queue)

    async def _take(self, queues: Sequence[str], limits: Mapping[str, Limits], room: Room) -> Sequence[Job]:
        if room.places > 1 and not room.below and not any(map(self._rules.is_limited, queues)):
            return await self._claims.claim_several(
                queues, self._worker, self._lease, most=room.places, shares=room.shares
            )
        job = await self._claims.claim(queues, self._worker, self._lease, limits=limits, below=room.below)
        return (job,) if job else ()
