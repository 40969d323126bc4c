"""Queues that stand still: work waits in them, and nobody will take it as things are."""

from collections.abc import Collection, Mapping

from heliograph.announcements import Announced, Announcements
from heliograph.jobs.store.census import CensusStore
from heliograph.queues.model import Queue
from heliograph.queues.store import QueueStore
from heliograph.storage import Database


class Standstill:
    """Looks at who serves the queues."""

    def __init__(self, database: Database) -> None:
        self._census = CensusStore(database)
        self._announcements = Announcements(database)
        self._queues = QueueStore(database)

    async def reasons(self) -> dict[str, str]:
        """Return why nothing is taken from a queue in which something waits, for those that stand still."""
        queues = await self._census.queues_with_work()
        return await self.reasons_of(queues, await self._census.held()) if queues else {}

    async def reasons_of(self, names: Collection[str], held: Mapping[str, int]) -> dict[str, str]:
        """Return why nothing is taken from these queues; ``held`` is how many jobs of a queue somebody holds."""
        if not names:
            return {}
        backends = {backend.name: backend for backend in await self._announcements.all()}
        queues = {queue.name: queue for queue in await self._queues.all()}
        reasons = {name: why(backends.get(name), queues.get(name), held.get(name, 0)) for name in names}
        return {name: reason for name, reason in reasons.items() if reason is not None}


def why(backend: Announced | None, queue: Queue | None, held: int) -> str | None:
    """Return why nothing is taken from a queue; None where it goes on.

    Parameters
    ----------
    backend
        Whose jobs they are, where workers serve the queue.
    queue
        As it was declared, where agents do. Nobody announces an agent: one is there while it holds a job.
    held
        How many of its jobs somebody holds.
    """
    if backend is not None:
        if backend.paused:
            return f"the backend {backend.name} is paused"
        return None if backend.workers else f"no worker that offers the backend {backend.name} is alive"
    if queue is not None:
        if queue.paused:
            return f"the queue {queue.name} is paused"
        return None if held else f"no agent claims from the queue {queue.name}"
    return "no worker and no agent serves its queue: there is neither such a backend nor such a queue"
