"""What outside systems told of running jobs, one document a message, numbered from 1 within an attempt."""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from heliograph.backends.context import Callback
from heliograph.callbacks.message import Outcome
from heliograph.jobs.states import HELD
from heliograph.jobs.store.indexes import JOBS
from heliograph.storage import Database, DuplicateError, Index
from heliograph.storage.errors import translated

CALLBACKS = "callbacks"

_INDEXES = (
    Index("of_attempt", (("attempt", 1), ("n", -1)), {}),
    # The rule that a message of one id is kept once.
    Index(
        "message_id", (("attempt", 1), ("message_id", 1)),
        {"unique": True, "partialFilterExpression": {"message_id": {"$exists": True}}},
    ),
    # Not by age: the number of the next message is found from the last, which so outlives the link.
    Index("expiry", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt as a link names it: ``lease`` is the hash of the token under which it holds the job."""

    job: str
    series: int
    lease: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message at the door: its body as JSON text, what it means, and the id that its sender gave it, if any."""

    text: str
    outcome: Outcome
    message_id: str | None

    @property
    def bytes(self) -> int:
        """How large it is."""
        return len(self.text.encode())

    @property
    def digest(self) -> str:
        """Tells whether two messages are equal."""
        return sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Last:
    """The last message of an attempt, or of none: its number, the bytes of all so far, whether it told of the end."""

    n: int = 0
    total_bytes: int = 0
    is_final: bool = False


def lease_hash(token: str) -> str:
    """Return what stands for a lease's token where others may read it: the token itself is the right to write."""
    return sha256(b"heliograph-lease\0" + token.encode()).hexdigest()[:32]


class CallbackStore:
    """Keeps messages in the order of their coming, without gaps."""

    def __init__(self, database: Database) -> None:
        self._callbacks = database.collection(CALLBACKS)
        self._jobs = database.collection(JOBS)

    async def holds(self, attempt: Attempt) -> bool:
        """Say whether an attempt still holds its job."""
        where = {"_id": attempt.job, "series": attempt.series, "state": {"$in": list(HELD)}}
        with translated():
            job = await self._jobs.find_one(where, {"lease.token": 1})
        return job is not None and lease_hash(job["lease"]["token"]) == attempt.lease

    async def known(self, attempt: Attempt, message_id: str) -> str | None:
        """Return the digest of the message that came under this id, if one did."""
        with translated():
            found = await self._callbacks.find_one({"attempt": attempt.lease, "message_id": message_id}, {"digest": 1})
        return found["digest"] if found else None

    async def last(self, attempt: Attempt) -> Last:
        """Return what came last."""
        with translated():
            found = await self._callbacks.find_one({"attempt": attempt.lease}, sort=[("n", -1)])
        return Last(found["n"], found["total_bytes"], found["final"]) if found else Last()

    async def add(self, attempt: Attempt, received: Received, after: Last, expires: datetime) -> bool:
        """Keep a message as the one ``after`` another; return False where a third was faster.

        Raises
        ------
        DuplicateError
            One of the same ``message_id`` was faster.
        """
        n = after.n + 1
        document: dict[str, Any] = {
            "job": attempt.job, "attempt": attempt.lease, "n": n, "body": received.text, "digest": received.digest,
            "total_bytes": after.total_bytes + received.bytes, "final": received.outcome is not Outcome.GOES_ON,
            "expires_at": expires,
        }  # fmt: skip
        if received.message_id is not None:
            document["message_id"] = received.message_id
        # An update, for the server's clock. What is there has a number and so is not matched: its id is in the way.
        where = {"_id": f"{attempt.lease}:{n}", "n": {"$exists": False}}
        fields = {name: {"$literal": value} for name, value in document.items()}
        try:
            with translated():
                await self._callbacks.update_one(where, [{"$set": {**fields, "at": "$$NOW"}}], upsert=True)
        except DuplicateError as error:
            if "message_id" in error.index:
                raise
            return False
        return True

    async def next(self, lease: str, after: int) -> tuple[int, Callback] | None:
        """Return the message that came after the one of this number, with its own; None where there is none yet."""
        with translated():
            found = await self._callbacks.find_one({"_id": f"{lease}:{after + 1}"}, {"body": 1, "at": 1})
        return (after + 1, Callback(json.loads(found["body"]), found["at"])) if found else None


async def ensure_callback_indexes(database: Database) -> None:
    """Create the indexes over callbacks where they are missing."""
    await database.ensure_indexes(CALLBACKS, _INDEXES)
