"""A database: its client with this project's safety settings, its collections, and how long it has been there."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import structlog
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import OperationFailure

from heliograph.storage.errors import StoreUnavailableError, translated

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Any]

_log = structlog.get_logger()

SELECTION_MILLISECONDS = 2_000  # how long one operation looks for a server before it says that there is none
SOCKET_MILLISECONDS = 10_000  # how long one answer may take: a server that hangs counts as away
BEAT_SECONDS = 1.0
BEAT_LATE_SECONDS = 4.0  # a beat that took longer is a break: the process or the database stood still
_INDEX_OPTIONS_CONFLICT = 85
_INDEX_KEY_SPECS_CONFLICT = 86


@dataclass(frozen=True, slots=True)
class Index:
    """An index: its name, its keys with their direction, and options as the server names them."""

    name: str
    keys: tuple[tuple[str, int], ...]
    options: Mapping[str, Any]


class Database:
    """A connection to one database; used as an asynchronous context manager in the process's one event loop.

    Every write waits for a majority and the journal. The driver's own retries of writes are off: they need a replica
    set, and each write of ours carries an id under which it may be repeated.
    """

    def __init__(self, url: str, name: str = "heliograph") -> None:
        self._client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
            url, w="majority", journal=True, tz_aware=True, retryWrites=False, appname="heliograph",
            serverSelectionTimeoutMS=SELECTION_MILLISECONDS, connectTimeoutMS=SELECTION_MILLISECONDS,
            socketTimeoutMS=SOCKET_MILLISECONDS, wTimeoutMS=SOCKET_MILLISECONDS, heartbeatFrequencyMS=2_000,
            read_preference=ReadPreference.PRIMARY,
        )  # fmt: skip
        self._database = self._client[name]
        self._connected_since: float | None = None
        self._was_away = False
        self._beat: asyncio.Task[None] | None = None
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._beat = asyncio.create_task(self._keep_beating(), name="database-beat")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._beat:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        self._client.close()

    def collection(self, name: str, *, journaled: bool = True) -> Collection:
        """Return a collection; ``journaled=False`` is for writes whose loss only repeats something harmless."""
        if journaled:
            return self._database[name]
        return self._database.get_collection(name, write_concern=WriteConcern(w=1, j=False))

    @property
    def raw(self) -> Any:  # noqa: ANN401 - the driver's own object, for the file store of this package
        """The driver's database."""
        return self._database

    @property
    def is_connected(self) -> bool:
        """Whether the last beat was answered."""
        return self._connected_since is not None

    @property
    def connected_for(self) -> timedelta:
        """How long every beat has been answered in time; what happened in the database before, we may have missed."""
        since = self._connected_since
        return timedelta(seconds=time.monotonic() - since) if since is not None else timedelta(0)

    async def wait_connected(self) -> None:
        """Return once a beat has been answered; waits as long as that takes."""
        while not self.is_connected:
            self._came.clear()
            await self._came.wait()

    async def now(self) -> datetime:
        """Return the server's clock."""
        with translated():
            answer = await self._database.command("hello")
        moment: datetime = answer["localTime"]
        return moment

    async def ensure_indexes(self, collection: str, indexes: Iterable[Index]) -> None:
        """Create the indexes that are missing; one whose definition changed is made anew."""
        target = self._database[collection]
        with translated():
            for index in indexes:
                try:
                    await target.create_index(list(index.keys), name=index.name, **index.options)
                except OperationFailure as error:
                    if error.code not in {_INDEX_OPTIONS_CONFLICT, _INDEX_KEY_SPECS_CONFLICT}:
                        raise
                    _log.info("index changed, made anew", collection=collection, index=index.name)
                    await target.drop_index(index.name)
                    await target.create_index(list(index.keys), name=index.name, **index.options)

    async def drop(self) -> None:
        """Drop the whole database; for tests and benchmarks."""
        with translated():
            await self._client.drop_database(self._database.name)

    async def _keep_beating(self) -> None:
        while True:
            asked = time.monotonic()
            try:
                with translated():
                    answer = await self._database.command("hello")
                if not answer.get("isWritablePrimary"):
                    raise StoreUnavailableError("the database has no primary")
            except StoreUnavailableError as error:
                self._note_away(str(error.__cause__ or error))
            else:
                self._note_here(late=time.monotonic() - asked > BEAT_LATE_SECONDS)
            slept_from = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            if time.monotonic() - slept_from > BEAT_LATE_SECONDS:
                self._connected_since = None  # this process stood still; others may have taken over its leases

    def _note_away(self, why: str) -> None:
        if not self._was_away:
            _log.warning("database away, waiting for it", why=why.splitlines()[0][:200])
        self._was_away = True
        self._connected_since = None

    def _note_here(self, *, late: bool) -> None:
        if self._was_away:
            _log.info("database is back")
        self._was_away = False
        if late or self._connected_since is None:
            self._connected_since = time.monotonic()
        self._came.set()
