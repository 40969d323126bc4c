"""The log of a job: what its attempts printed, in chunks, in a collection of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from heliograph.storage import Database
from heliograph.storage.errors import translated


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of an attempt's log; ``n`` rises, and ``token`` is that of the lease under which it was printed."""

    n: int
    token: str
    data: bytes


class LogStore:
    """Appends to and reads the logs of attempts.

    A chunk belongs to the lease token under which it was printed, so what a worker printed after it lost its
    lease never mixes with the log of its successor.
    """

    def __init__(self, database: Database) -> None:
        self._logs = database.collection("logs", journaled=False)

    async def append(self, job: str, series: int, attempt: int, token: str, n: int, data: bytes) -> None:
        """Keep chunk ``n`` (rising) of an attempt; the same chunk twice is one."""
        chunk = {"job": job, "series": series, "attempt": attempt, "n": n, "data": bytes(data)}
        with translated():
            await self._logs.replace_one({"_id": f"{token}:{n}"}, chunk, upsert=True)

    async def read(self, job: str, series: int, attempt: int, *, after: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the log of an attempt, in order; with ``after``, what follows the chunk of this ``n``.

        Whose job was handed back has two tokens: the attempt that follows has the same number.
        """
        where: dict[str, object] = {"job": job, "series": series, "attempt": attempt}
        if after is not None:
            where["n"] = {"$gt": after}
        with translated():
            async for chunk in self._logs.find(where, {"n": 1, "data": 1}).sort("n", 1):
                yield LogChunk(chunk["n"], chunk["_id"].rpartition(":")[0], bytes(chunk["data"]))
