"""Claims whose answers were lost: the jobs may be ours, and nobody would begin them before their leases are over."""

import time

from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store.documents import to_claimed
from heliograph.jobs.store.jobs import CLAIMED_VIEW
from heliograph.storage import Collection
from heliograph.storage.errors import translated

KEPT_SECONDS = 60.0  # a write that the server had when the line broke is through long before; most leases are over
MOST_KEPT = 1_000


class Doubts:
    """The tokens of such claims, for one process."""

    def __init__(self, jobs: Collection) -> None:
        self._jobs = jobs
        self._tokens: dict[str, float] = {}

    def note(self, token: str) -> None:
        """Keep in mind that a claim under this token may have come through."""
        if len(self._tokens) >= MOST_KEPT:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = time.monotonic()

    async def settle(self) -> list[Job]:
        """Return the jobs that are ours after all, each once."""
        if not self._tokens:
            return []
        with translated():
            found = await self._jobs.find(
                {"lease.until": {"$exists": True}, "lease.token": {"$in": list(self._tokens)},
                 "state": State.RUNNING.value}, CLAIMED_VIEW,
            ).to_list(MOST_KEPT)  # fmt: skip
        jobs = [to_claimed(document) for document in found]
        ours = {job.lease.token for job in jobs if job.lease}
        oldest = time.monotonic() - KEPT_SECONDS
        self._tokens = {token: at for token, at in self._tokens.items() if token not in ours and at > oldest}
        return jobs
