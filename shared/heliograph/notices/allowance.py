"""Allowances: how often somebody may do something that reaches other people."""

from datetime import timedelta

from heliograph.ids import new_token
from heliograph.storage import Database, Document, DuplicateError, Index
from heliograph.storage.errors import translated

ALLOWANCES = "allowances"
# Once over, the times of an allowance count no more, and its removal needs no act of ours.
_INDEXES = (Index("over", (("over_at", 1),), {"expireAfterSeconds": 0}),)


class Allowances:
    """Keeps the times at which each was used; by the server's clock."""

    def __init__(self, database: Database) -> None:
        self._allowances = database.collection(ALLOWANCES)

    async def take(self, what: str, most: int, within: timedelta) -> bool:
        """Use an allowance once; return False, and change nothing, where it was used ``most`` times of late.

        One write that also decides, so that many askers at once get no more than one after the other.
        """
        length = int(within / timedelta(milliseconds=1))
        begin = {"$subtract": ["$$NOW", length]}
        times = {"$filter": {"input": {"$ifNull": ["$times", []]}, "cond": {"$gt": ["$$this", begin]}}}
        token = new_token()
        is_free = {"$lt": [{"$size": "$times"}, most]}
        update: list[Document] = [
            {"$set": {"times": times}},
            {"$set": {
                "times": {"$cond": [is_free, {"$concatArrays": ["$times", ["$$NOW"]]}, "$times"]},
                "last": {"$cond": [is_free, {"$literal": token}, "$last"]},
                "over_at": {"$add": ["$$NOW", length]},
            }},
        ]  # fmt: skip
        for _ in range(2):  # two first askers insert at once; the one that lost looks again
            try:
                with translated():
                    after = await self._allowances.find_one_and_update(
                        {"_id": what}, update, upsert=True, return_document=True
                    )
            except DuplicateError:
                continue
            return bool(after["last"] == token)
        return False


async def ensure_allowance_indexes(database: Database) -> None:
    """Create the index over allowances where it is missing."""
    await database.ensure_indexes(ALLOWANCES, _INDEXES)
