"""Keeps the account's session and keys in the database, sealed, and sees that one process at a time uses them.

One document for each account. Whoever takes it has it until a moment of the server's clock, renews that, and counts
``epoch`` up by one: what a process of an earlier epoch still wants to write is refused, so that a process that stood
still for a minute cannot go on with keys that another has used since.
"""

import asyncio
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from heliograph.seal import SealBrokenError, seal, unseal
from heliograph.storage import Database, Document, DuplicateError
from heliograph.storage.errors import translated
from heliograph.storage.writes import MOST_DOCUMENT_BYTES

_log = structlog.get_logger()

ACCOUNTS = "matrix_accounts"
LEASE = timedelta(seconds=15)
BEATS = 3  # tries to renew within one lease
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class TenureOverError(Exception):
    """The account is another process's now."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class KeysTooLargeError(Exception):
    """The account's keys do not fit into the database."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login: the device, and the token that stands for it."""

    device: str
    token: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the account.

    ``device`` was the last one. ``session`` and ``keys`` (a SQLite database) are secrets. ``since`` is how far the
    rooms were heard.
    """

    device: str | None = None
    session: Session | None = None
    keys: bytes | None = None
    since: str | None = None


class Tenure:
    """The time for which a process has the account; made by ``Keeper.take``."""

    def __init__(self, keeper: "Keeper", epoch: int, kept: Kept, until: float) -> None:
        self._keeper = keeper
        self._epoch = epoch
        self._until = until  # this process's clock, counted from before the server was asked
        self.kept = kept

    @property
    def is_held(self) -> bool:
        """Whether the account is certainly ours."""
        return time.monotonic() < self._until

    def check(self) -> None:
        """Raise ``TenureOverError`` where the account may be somebody else's."""
        if not self.is_held:
            raise TenureOverError

    async def renew(self) -> None:
        """Hold it for another lease from now; ``TenureOverError`` where somebody else has it."""
        asked = time.monotonic()
        if not await self._keeper.renew(self._epoch):
            self._until = 0.0
            raise TenureOverError
        if self._until:  # else it was given back, or found to be lost, meanwhile
            self._until = max(self._until, asked + self._keeper.lease.total_seconds())

    async def keep(
        self, *, device: str | None = None, session: Session | None = None, keys: bytes | None = None,
        since: str | None = None,
    ) -> None:  # fmt: skip
        """Keep what is given; the rest stays. ``TenureOverError`` where somebody else has the account."""
        if not await self._keeper.keep(self._epoch, Kept(device, session, keys, since)):
            self._until = 0.0
            raise TenureOverError

    async def release(self) -> None:
        """Give the account back, so that another need not wait for the end of the lease."""
        self._until = 0.0
        await self._keeper.release(self._epoch)


class Keeper:
    """One account's document. ``holder`` is this process; without ``seal_keys`` nothing secret is kept."""

    def __init__(
        self, database: Database, user: str, holder: str, seal_keys: Sequence[str] | None, *, lease: timedelta = LEASE
    ) -> None:
        self._accounts = database.collection(ACCOUNTS)
        self._user = user
        self._holder = holder
        self._seal_keys = seal_keys
        self.lease = lease

    @property
    def can_seal(self) -> bool:
        """Whether secrets can be kept."""
        return bool(self._seal_keys)

    @property
    def beat(self) -> timedelta:
        """How often a tenure is renewed, and how often others look whether the account is free."""
        return self.lease / BEATS

    async def take(self) -> Tenure | None:
        """Take the account where it is free; None where another process has it."""
        asked = time.monotonic()
        document = await self._take()
        if document is None:
            try:
                with translated():
                    await self._accounts.insert_one({"_id": self._user, "holder": None, "epoch": 0, "until": _LONG_AGO})
            except DuplicateError:
                return None  # it exists, and somebody has it
            document = await self._take()
        if document is None:
            return None
        kept = await asyncio.to_thread(self._opened, document)
        return Tenure(self, document["epoch"], kept, asked + self.lease.total_seconds())

    async def renew(self, epoch: int) -> bool:
        """Prolong a tenure; return whether it still was one."""
        with translated():
            result = await self._accounts.update_one(self._of(epoch), [{"$set": {"until": self._end()}}])
        return bool(result.matched_count)

    async def keep(self, epoch: int, kept: Kept) -> bool:
        """Keep what is given, where the tenure is the last one; return whether it is.

        Raises
        ------
        KeysTooLargeError
            As its name says.
        """
        fields = await asyncio.to_thread(self._sealed, kept)
        with translated():
            result = await self._accounts.update_one(self._of(epoch), {"$set": fields})
        return bool(result.matched_count)

    async def release(self, epoch: int) -> None:
        """End a tenure early."""
        with translated():
            await self._accounts.update_one(self._of(epoch), {"$set": {"until": _LONG_AGO, "holder": None}})

    async def _take(self) -> Document | None:
        taken = {
            "holder": {"$literal": self._holder}, "epoch": {"$add": ["$epoch", 1]}, "until": self._end(),
        }  # fmt: skip
        is_free = {"_id": self._user, "$expr": {"$lt": ["$until", "$$NOW"]}}
        with translated():
            found: Document | None = await self._accounts.find_one_and_update(
                is_free, [{"$set": taken}], return_document=True
            )
        return found

    def _end(self) -> dict[str, Any]:
        return {"$add": ["$$NOW", int(self.lease / timedelta(milliseconds=1))]}

    def _of(self, epoch: int) -> dict[str, Any]:
        return {"_id": self._user, "epoch": epoch, "holder": self._holder}

    def _sealed(self, kept: Kept) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if kept.device is not None:
            fields["device"] = kept.device
        if kept.since is not None:
            fields["since"] = kept.since
        if self._seal_keys and kept.session is not None:
            session = json.dumps(asdict(kept.session)).encode()
            fields["session"] = seal(self._seal_keys, self._purpose("session"), session)
        if self._seal_keys and kept.keys is not None:
            # A new database of 143 kB becomes 15 kB within 3 ms; one with 600 devices of 200 people and 2,000 room
            # keys, 4.4 MB, becomes 2.3 MB within 0.2 s.
            fields["keys"] = seal(self._seal_keys, self._purpose("keys"), zlib.compress(kept.keys, 1))
            if len(fields["keys"]) > MOST_DOCUMENT_BYTES:
                raise KeysTooLargeError(f"{len(fields['keys'])} bytes of at most {MOST_DOCUMENT_BYTES}")
        return fields

    def _opened(self, document: Document) -> Kept:
        """Read a document; secrets that cannot be opened are as if there were none."""
        public = Kept(device=document.get("device"), since=document.get("since"))
        if not self._seal_keys or "session" not in document:
            return public
        try:
            session = Session(**json.loads(unseal(self._seal_keys, self._purpose("session"), document["session"])))
            sealed = document.get("keys")
            keys = zlib.decompress(unseal(self._seal_keys, self._purpose("keys"), sealed)) if sealed else None
        except SealBrokenError:
            _log.error("none of the seal keys opens the Matrix account's device: a new one is made", user=self._user)
            return Kept(since=public.since)
        return Kept(public.device, session, keys, public.since)

    def _purpose(self, what: str) -> str:
        return f"matrix-{what}:{self._user}"
