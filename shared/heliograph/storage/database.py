"""A database: its client with this project's safety settings, its collections, and how long it has been there."""

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import structlog
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import IndexModel, ReadPreference, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError

from heliograph.storage.errors import StoreUnavailableError, translated

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Any]

_log = structlog.get_logger()

SELECTION_MILLISECONDS = 2_000  # how long one operation looks for a server before it says that there is none
SOCKET_MILLISECONDS = 10_000  # how long one answer may take: a server that hangs counts as away
BEAT_SECONDS = 1.0
BREAK_SECONDS = 4.0  # answers to beats that lie further apart, by either clock: the process or the database stood still
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
        self._connected_since: datetime | None = None  # the server's clock
        self._answer = (datetime.min.replace(tzinfo=UTC), 0.0)  # the last one, by the server's clock and by ours
        self._was_away = False
        self._beat: asyncio.Task[None] | None = None
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._beat = asyncio.create_task(self._keep_beating(), name="database-beat")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._beat:
            self._beat.cancel()
            await asyncio.wait({self._beat})
        await asyncio.to_thread(self._client.close)  # it says goodbye to a server that may be away

    def collection(self, name: str, *, journaled: bool = True) -> Collection:
        """Return a collection; ``journaled=False`` is for writes whose loss only repeats something harmless."""
        if journaled:
            return self._database[name]
        return self._database.get_collection(name, write_concern=WriteConcern(w=1, j=False))

    @property
    def raw(self) -> Any:
        """The driver's database."""
        return self._database

    @property
    def is_connected(self) -> bool:
        """Whether the last beat was answered."""
        return self._connected_since is not None

    @property
    def connected_for(self) -> timedelta:
        """How long every beat has been answered in time, by the server's clock, as leases are."""
        moment, here = self._answer
        if self._connected_since is None or _clock() - here > BREAK_SECONDS:
            return timedelta(0)
        return moment - self._connected_since

    async def confirm_connected(self) -> timedelta:
        """Ask the server now and return ``connected_for`` as of its answer, zero where there is none.

        Whoever found something overdue asks this next: a clock that has just jumped, because the machine or the server
        stood still, has then been noticed.
        """
        await self._ask()
        return self.connected_for

    async def wait_connected(self) -> None:
        """Return once a beat has been answered; waits as long as that takes."""
        while not self.is_connected:
            self._came.clear()
            await self._came.wait()

    async def now(self) -> datetime:
        """Return the server's clock."""
        moment: datetime = (await self._hello())["localTime"]
        return moment

    async def ensure_indexes(self, collection: str, indexes: Iterable[Index]) -> None:
        """Create the indexes that are missing; one whose definition changed is made anew."""
        target = self._database[collection]
        wanted = {index.name: IndexModel(list(index.keys), name=index.name, **index.options) for index in indexes}
        with translated():
            try:
                await target.create_indexes(list(wanted.values()))
            except OperationFailure as error:
                if error.code not in {_INDEX_OPTIONS_CONFLICT, _INDEX_KEY_SPECS_CONFLICT}:
                    raise
                await self._remake(target, wanted)

    @staticmethod
    async def _remake(target: Collection, wanted: Mapping[str, IndexModel]) -> None:
        for name, index in wanted.items():
            try:
                await target.create_indexes([index])
            except OperationFailure as error:
                if error.code not in {_INDEX_OPTIONS_CONFLICT, _INDEX_KEY_SPECS_CONFLICT}:
                    raise
                _log.info("index changed, made anew", collection=target.name, index=name)
                await target.drop_index(name)
                await target.create_indexes([index])

    async def drop(self) -> None:
        """Drop the whole database; for tests and benchmarks."""
        with translated():
            await self._client.drop_database(self._database.name)

    async def _keep_beating(self) -> None:
        while True:
            await self._ask()
            await asyncio.sleep(BEAT_SECONDS)

    async def _ask(self) -> None:
        try:
            answer = await self._hello()
            if not answer.get("isWritablePrimary"):
                raise StoreUnavailableError("the database has no primary")
        except (StoreUnavailableError, PyMongoError) as error:
            self._note_away(str(error.__cause__ or error))
        else:
            self._note_here(answer["localTime"])

    async def _hello(self) -> Document:
        with translated():
            # A command's answer is else decoded with the driver's defaults: times without a zone.
            answer: Document = await self._database.command("hello", codec_options=self._database.codec_options)
        return answer

    def _note_away(self, why: str) -> None:
        if not self._was_away:
            _log.warning("database away, waiting for it", why=why.splitlines()[0][:200] if why else "")
        self._was_away = True
        self._connected_since = None

    def _note_here(self, moment: datetime) -> None:
        if self._was_away:
            _log.info("database is back")
        self._was_away = False
        (last_moment, last_here), here = self._answer, _clock()
        is_break = max(abs((moment - last_moment).total_seconds()), here - last_here) > BREAK_SECONDS
        if is_break or self._connected_since is None:
            self._connected_since = moment
        self._answer = (moment, here)
        self._came.set()


def _clock() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
