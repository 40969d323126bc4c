"""A person's own jobs, found by the end of their ids that notices name."""

import re

from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database
from heliograph.storage.errors import translated

_AMBIGUOUS = 2


class OwnJobs:
    """Finds jobs by their owner; the ids alone are looked at, in the index of what is whose."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.collection(JOBS)

    async def ending_in(self, owner: str, end: str) -> list[str]:
        """Return the ids of the owner's jobs that end so, the newest first; at most two, which is one too many."""
        where = {"owner": owner, "_id": {"$regex": f"{re.escape(end)}$"}}
        with translated():
            found = await self._jobs.find(where, {"_id": 1}).sort("_id", -1).to_list(_AMBIGUOUS)
        return [document["_id"] for document in found]
