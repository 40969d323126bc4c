"""The declared queues, as the database keeps them."""

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson

from heliograph.errors import NotFoundError
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Once
from heliograph.json_text import canonical_json, json_text
from heliograph.queues.model import Declaration, Delivery, Queue
from heliograph.storage import Database, Document
from heliograph.storage.errors import translated

QUEUES = "queues"
_MILLISECOND = timedelta(milliseconds=1)


class QueueStore:
    """Declares queues, and tells their rules."""

    def __init__(self, database: Database) -> None:
        self._queues = database.collection(QUEUES)

    async def declare(self, name: str, declaration: Declaration, by: str) -> tuple[Queue, bool]:
        """State the rules of a queue in place of those that it had; return it, and whether it is new."""
        rules = _document(declaration)
        update: list[Document] = [
            {"$set": {key: {"$literal": value} for key, value in rules.items()}},
            {"$set": {"declared_at": "$$NOW", "declared_by": {"$literal": by}}},
            {"$set": {"paused": _paused(declaration.paused)}},
        ]
        with translated():
            before = await self._queues.find_one_and_update({"_id": name}, update, {"_id": 1}, upsert=True)
        return await self.get(name), before is None

    async def get(self, name: str) -> Queue:
        """Return a queue; ``NotFoundError`` where it is not declared."""
        with translated():
            found = await self._queues.find_one({"_id": name})
        if found is None:
            raise _unknown(name)
        return _queue(found)

    async def all(self) -> list[Queue]:
        """Return every queue, by name."""
        with translated():
            return [_queue(document) async for document in self._queues.find().sort("_id", 1)]

    async def set_paused(self, name: str, *, paused: bool) -> Queue:
        """Let nothing be claimed from a queue, or let it be again; ``NotFoundError`` where it is not declared."""
        with translated():
            found = await self._queues.find_one_and_update(
                {"_id": name}, {"$set": {"paused": paused}}, return_document=True
            )
        if found is None:
            raise _unknown(name)
        return _queue(found)

    async def remove(self, name: str) -> None:
        """Forget a queue; one that is gone already is fine."""
        with translated():
            await self._queues.delete_one({"_id": name})


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no queue {name}")


def _paused(paused: bool | None) -> Any:
    return {"$ifNull": ["$paused", False]} if paused is None else {"$literal": paused}


def _document(declaration: Declaration) -> Document:
    schema = declaration.parameters_schema
    return {
        "title": declaration.title,
        # As text: names in a schema may begin with a dollar sign or hold dots.
        "schema": None if schema is None else json_text(schema),
        "revision": sha256(canonical_json(schema).encode()).hexdigest(),
        "once": declaration.once.value,
        "lease_ms": None if declaration.lease is None else declaration.lease // _MILLISECOND,
        "delivery": declaration.delivery.value,
        "max_attempts": declaration.max_attempts,
        "limits": {"total": declaration.limits.total, "per_owner": declaration.limits.per_owner},
        "roles": list(declaration.roles),
    }


def _queue(document: Mapping[str, Any]) -> Queue:
    schema, milliseconds = document["schema"], document["lease_ms"]
    return Queue(
        name=document["_id"], title=document["title"],
        parameters_schema=None if schema is None else orjson.loads(schema), once=Once(document["once"]),
        lease=None if milliseconds is None else milliseconds * _MILLISECOND,
        delivery=Delivery(document["delivery"]), max_attempts=document["max_attempts"],
        limits=Limits(**document["limits"]), roles=tuple(document["roles"]), paused=document["paused"],
        declared_at=document["declared_at"], declared_by=document["declared_by"], revision=document["revision"],
    )  # fmt: skip
