"""What workers can do, as they announce it in the database: the api validates and documents what is really there."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from heliograph.backends import Backend
from heliograph.jobs.limits import Limits
from heliograph.storage import Database
from heliograph.storage.errors import translated

_EARLY = re.compile(r"[-._]?(a|alpha|b|beta|c|dev|pre|rc)", re.IGNORECASE)
_RULES = {"limits": 1, "limits_set": 1}
SEEN_OF_LATE = timedelta(seconds=60)  # six missed beats


@dataclass(frozen=True, slots=True)
class Announced:
    """A backend as announced; ``parameters_schema`` is JSON Schema, ``revision`` changes with it.

    ``limits`` are the operator's where they set some, else the backend's own; while it is ``paused`` nothing is begun.
    """

    name: str
    version: str
    title: str
    description: str
    parameters_schema: dict[str, Any]
    roles: tuple[str, ...]
    timeout_seconds: float | None
    workers: int
    last_seen: datetime | None
    revision: str
    limits: Limits
    paused: bool


class Announcements:
    """Announces backends and lists them. A backend stays until an administrator removes it; its workers come and go."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._backends = database.collection("backends")
        self._workers = database.collection("workers", journaled=False)

    async def announce(self, backends: Iterable[Backend]) -> None:
        """Tell of backends. Where another worker announced a higher version, that one stands."""
        for backend in backends:
            rank = _rank(backend.version)
            document = {
                "version": backend.version, "rank": rank, "title": backend.title, "description": backend.description,
                "schema": orjson.dumps(backend.schema()).decode(), "roles": list(backend.roles),
                "timeout_seconds": backend.timeout.total_seconds() if backend.timeout else None,
                "limits": {"total": backend.limits.total, "per_owner": backend.limits.per_owner},
            }  # fmt: skip
            newer = {"$gt": [{"$ifNull": ["$rank", ""]}, {"$literal": rank}]}
            update = [
                {"$set": {key: {"$cond": [newer, f"${key}", {"$literal": value}]} for key, value in document.items()}}
            ]
            with translated():
                await self._backends.update_one({"_id": backend.name}, update, upsert=True)

    async def seen(self, worker: str, backends: Iterable[str], slots: int) -> None:
        """Tell that a worker is alive."""
        update = {"$set": {"backends": list(backends), "slots": slots}, "$currentDate": {"last_seen": True}}
        with translated():
            await self._workers.update_one({"_id": worker}, update, upsert=True)

    async def gone(self, worker: str) -> None:
        """Tell that a worker ended."""
        with translated():
            await self._workers.delete_one({"_id": worker})

    async def all(self) -> list[Announced]:
        """Return every backend, by name."""
        with translated():
            now = await self._database.now()
            documents = await self._backends.find().sort("_id", 1).to_list(None)
            workers = await self._workers.find({"last_seen": {"$gt": now - SEEN_OF_LATE}}).to_list(None)
        return [_announced(document, workers) for document in documents]

    async def open(self, names: Iterable[str]) -> dict[str, Limits]:
        """Return which of these backends are not paused, and how many of their jobs may be held at a time."""
        with translated():
            found = self._backends.find({"_id": {"$in": list(names)}, "paused": {"$ne": True}}, _RULES)
            return {document["_id"]: _limits(document) async for document in found}

    async def set_paused(self, name: str, *, paused: bool) -> bool:
        """Let nothing of a backend be begun, or let it be again; return whether there is such a backend."""
        return await self._change(name, {"$set": {"paused": paused}})

    async def set_limits(self, name: str, limits: Limits | None) -> bool:
        """Set limits in place of the announced ones, or take these back; return whether there is such a backend."""
        if limits is None:
            return await self._change(name, {"$unset": {"limits_set": True}})
        chosen = {"total": limits.total, "per_owner": limits.per_owner}
        return await self._change(name, {"$set": {"limits_set": chosen}})

    async def remove(self, name: str) -> bool:
        """Forget a backend; return whether there was one."""
        with translated():
            return bool((await self._backends.delete_one({"_id": name})).deleted_count)

    async def _change(self, name: str, update: dict[str, Any]) -> bool:
        with translated():
            return bool((await self._backends.update_one({"_id": name}, update)).matched_count)


def _limits(document: dict[str, Any]) -> Limits:
    """Return the operator's limits where they set some, else those announced (by workers of old, none)."""
    return Limits(**(document.get("limits_set") or document.get("limits") or {}))


def _announced(document: dict[str, Any], workers: list[dict[str, Any]]) -> Announced:
    offering = [worker["last_seen"] for worker in workers if document["_id"] in worker["backends"]]
    return Announced(
        name=document["_id"], version=document["version"], title=document["title"],
        description=document["description"], parameters_schema=orjson.loads(document["schema"]),
        roles=tuple(document["roles"]), timeout_seconds=document["timeout_seconds"], workers=len(offering),
        last_seen=max(offering, default=None), revision=sha256(document["schema"].encode()).hexdigest(),
        limits=_limits(document), paused=document.get("paused", False),
    )  # fmt: skip


def _rank(version: str) -> str:
    """Return a text that sorts as versions do: by their numbers, and 2.0rc1 before 2.0 before 2.0.1.

    Numbers get 20 digits, which hold dates and build numbers too. Of the characters that follow them, ``!`` (an early
    version) sorts before ``-`` (a final one), and that before the ``.`` of a further number.
    """
    found = re.match(r"([0-9]+(?:\.[0-9]+)*)?(.*)", version)
    numbers, suffix = (found[1] or "0", found[2]) if found else ("0", "")
    parts = [number.zfill(20) for number in numbers.split(".")]
    while len(parts) > 1 and not parts[-1].strip("0"):
        parts.pop()
    kind = "!" if _EARLY.match(suffix) else "-"
    return ".".join(parts) + kind + re.sub(r"[0-9]+", lambda digits: digits[0].zfill(20), suffix)
