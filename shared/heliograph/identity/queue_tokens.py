"""Opaque tokens of queues: made at random, shown once, kept as a hash, revocable."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from heliograph.errors import NotFoundError, UnauthenticatedError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Role
from heliograph.ids import new_id
from heliograph.storage import Database, Document, Index, StoreUnavailableError
from heliograph.storage.errors import translated

PREFIX = "hgq_"  # so that people, and programs that look for leaked secrets, know one when they see it
SUBJECT_PREFIX = "queue-token:"
QUEUE_TOKENS = "queue_tokens"
_RANDOM_BYTES = 32
_KNOWN_SECONDS = 5.0  # so long a revoked token may still be taken by another process
_MOST_KNOWN = 4096
_NOTE_SECONDS = 60.0  # the time of the last use is kept as exact as this
_SECRET = {"hash": 0}


@dataclass(frozen=True, slots=True)
class QueueToken:
    """What is known of a token; the token itself is nowhere."""

    id: str
    queue: str
    description: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class QueueTokens:
    """Issues, verifies and revokes the tokens of queues, for one process."""

    def __init__(self, database: Database) -> None:
        self._tokens = database.collection(QUEUE_TOKENS)
        self._quick = database.collection(QUEUE_TOKENS, journaled=False)  # a lost time of use is no harm
        self._known: dict[str, tuple[QueueToken, float]] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def issue(
        self, queue: str, description: str, by: str, expires_at: datetime | None = None
    ) -> tuple[QueueToken, str]:
        """Make a token; return what is kept of it, and the token, which cannot be read again."""
        token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        document: Document = {
            "_id": new_id(), "hash": _hash(token), "queue": queue, "description": description,
            "created_at": datetime.now(UTC), "created_by": by, "expires_at": expires_at,
        }  # fmt: skip
        with translated():
            await self._tokens.insert_one(document)
        return await self.get(document["_id"]), token

    async def verify(self, token: str) -> Identity:
        """Return who a token stands for.

        Raises
        ------
        UnauthenticatedError
            It is unknown, revoked or expired.
        """
        found = await self._find(_hash(token))
        if found is None:
            raise UnauthenticatedError("the token is not valid")
        if found.revoked_at is not None:
            raise UnauthenticatedError("the token has been revoked")
        if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError("the token has expired")
        self._note_use(found.id)
        return Identity(SUBJECT_PREFIX + found.id, frozenset({Role.AGENT.value}), found.description, queue=found.queue)

    async def all(self, queue: str | None = None) -> list[QueueToken]:
        """Return the tokens of a queue, or of all, the oldest first; revoked ones too."""
        where = {} if queue is None else {"queue": queue}
        with translated():
            return [_token(document) async for document in self._tokens.find(where, _SECRET).sort("_id", 1)]

    async def get(self, identifier: str) -> QueueToken:
        """Return what is known of a token; ``NotFoundError`` where there is none."""
        with translated():
            found = await self._tokens.find_one({"_id": identifier}, _SECRET)
        if found is None:
            raise NotFoundError(f"there is no token {identifier}")
        return _token(found)

    async def revoke(self, identifier: str) -> None:
        """Let a token be taken no more; twice is harmless. ``NotFoundError`` where there is none."""
        await self.get(identifier)
        await self._revoke({"_id": identifier})

    async def revoke_all(self, queue: str) -> None:
        """Revoke every token of a queue."""
        await self._revoke({"queue": queue})

    async def _revoke(self, which: Mapping[str, Any]) -> None:
        with translated():
            await self._tokens.update_many({**which, "revoked_at": None}, {"$currentDate": {"revoked_at": True}})
        self._known.clear()

    async def _find(self, hashed: str) -> QueueToken | None:
        known = self._known.get(hashed)
        if known and time.monotonic() - known[1] < _KNOWN_SECONDS:
            return known[0]
        with translated():
            found = await self._tokens.find_one({"hash": hashed}, _SECRET)
        if found is None:
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        token = _token(found)
        self._known[hashed] = token, time.monotonic()
        return token

    def _note_use(self, identifier: str) -> None:
        """Keep when a token was last used, at most once in a while and beside the request."""
        now = time.monotonic()
        if now - self._noted.get(identifier, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        self._noted[identifier] = now
        note = asyncio.create_task(self._write_use(identifier), name="queue-token-use")
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write_use(self, identifier: str) -> None:
        with suppress(StoreUnavailableError), translated():
            await self._quick.update_one({"_id": identifier}, {"$currentDate": {"last_used_at": True}})


async def ensure_token_indexes(database: Database) -> None:
    """Create the indexes over tokens where they are missing."""
    indexes = (Index("hash", (("hash", 1),), {"unique": True}), Index("queue", (("queue", 1), ("_id", 1)), {}))
    await database.ensure_indexes(QUEUE_TOKENS, indexes)


def _hash(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()


def _token(document: Mapping[str, Any]) -> QueueToken:
    return QueueToken(
        document["_id"], document["queue"], document["description"], document["created_at"], document["created_by"],
        document.get("expires_at"), document.get("last_used_at"), document.get("revoked_at"),
    )  # fmt: skip
