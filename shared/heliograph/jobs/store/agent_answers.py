"""What claims under a key were answered, written down before it is said: whoever is asked again says the same.

Two apis may serve one claim at the same time, the second because the line to the first broke. Both may take jobs for
it; the answer is that of the one which writes first, and the other gives back what is not in it.
"""

from collections.abc import Collection as Several
from datetime import timedelta

from heliograph.storage import Database, DuplicateError, Index
from heliograph.storage.errors import translated

ANSWERS = "claim_answers"
KEPT = timedelta(days=1)  # nobody repeats a claim for so long

_INDEXES = (Index("over", (("at", 1),), {"expireAfterSeconds": int(KEPT.total_seconds())}),)


async def ensure_answer_indexes(database: Database) -> None:
    """Create the index over answers where it is missing."""
    await database.ensure_indexes(ANSWERS, _INDEXES)


class AnswerStore:
    """Keeps, for each repeatable claim, the tokens of the leases that it was answered with."""

    def __init__(self, database: Database) -> None:
        self._answers = database.collection(ANSWERS)

    async def find(self, request: str) -> frozenset[str] | None:
        """Return what a claim was answered with last; None where it was not."""
        with translated():
            found = await self._answers.find_one({"_id": request})
        return frozenset(found["tokens"]) if found else None

    async def give(self, request: str, tokens: Several[str], instead_of: frozenset[str] | None) -> bool:
        """Let this be the answer, unless another was given since ``instead_of`` was read; return whether it is."""
        told = sorted(tokens)
        before = {"_id": request, "tokens": None if instead_of is None else sorted(instead_of)}
        fields = [{"$set": {"tokens": {"$literal": told}, "at": "$$NOW"}}]
        try:
            with translated():
                given = await self._answers.update_one(before, fields, upsert=instead_of is None)
        except DuplicateError:
            return False
        return bool(given.matched_count or given.upserted_id)
