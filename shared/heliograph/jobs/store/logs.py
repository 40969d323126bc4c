"""The log of a job: what its attempts printed, in chunks, in a collection of its own."""

from collections.abc import AsyncIterator

from heliograph.storage import Database
from heliograph.storage.errors import translated


class LogStore:
    """Appends to and reads the logs of attempts.

    A chunk belongs to the lease token under which it was printed; an attempt has one token, so what a worker printed
    after it lost its lease never mixes with the log of its successor.
    """

    def __init__(self, database: Database) -> None:
        self._logs = database.collection("logs", journaled=False)

    async def append(self, job: str, series: int, attempt: int, token: str, n: int, data: bytes) -> None:
        """Keep chunk ``n`` (rising) of an attempt; the same chunk twice is one."""
        chunk = {"job": job, "series": series, "attempt": attempt, "n": n, "data": bytes(data)}
        with translated():
            await self._logs.replace_one({"_id": f"{token}:{n}"}, chunk, upsert=True)

    async def read(self, job: str, series: int, attempt: int) -> AsyncIterator[bytes]:
        """Yield the log of an attempt, in order."""
        where = {"job": job, "series": series, "attempt": attempt}
        with translated():
            async for chunk in self._logs.find(where, {"data": 1}).sort("n", 1):
                yield bytes(chunk["data"])
