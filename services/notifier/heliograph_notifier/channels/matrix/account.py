"""The installation's one Matrix account: one process has it at a time, and says and hears everything for all."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog

from heliograph.backoff import Backoff
from heliograph.channels import Refused, SendError, TryLater
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.answers import failure
from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.encrypted_rooms import EncryptedRooms
from heliograph_notifier.channels.matrix.encryption import Encryption
from heliograph_notifier.channels.matrix.inbox import Inbox, is_direct
from heliograph_notifier.channels.matrix.keeper import Keeper, KeysTooLargeError, Tenure, TenureOverError
from heliograph_notifier.channels.matrix.listener import Listener, ListeningBrokenError, LoggedOutError, pause
from heliograph_notifier.channels.matrix.messages import OnMessage
from heliograph_notifier.channels.matrix.session import Credentials, LoginError, open_client

_log = structlog.get_logger()

SEND_SECONDS = 30.0  # one message with everything before it; half of what the sender allows
KNOWN_SECONDS = 5.0  # how long a message waits for a sync that tells of the room what the server told already
END_SECONDS = 5.0
SETTLED_SECONDS = 60.0  # what was used for so long is no failure of logging in
OPEN_BACKOFF = Backoff(timedelta(seconds=2), timedelta(minutes=5))  # Synapse allows few logins

_AWAY = (aiohttp.ClientError, TimeoutError)


class Account:
    """The account, in the process that has it now.

    Importing this module imports the Matrix library: do so only where Matrix is configured. ``allowed`` are the users
    and servers whose invitations are taken, by default the account's own server. ``on_message`` is called with what
    others say in rooms: one message at a time, each at least once, after a crash perhaps again. What it raises is
    logged.
    """

    def __init__(
        self, homeserver: str, user: str, keeper: Keeper, *, password: str | None = None,
        access_token: str | None = None, allowed: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.user = user
        self.on_message: OnMessage | None = None
        self._credentials = Credentials(homeserver, user, password, access_token)
        self._keeper = keeper
        self._allowed = allowed
        self._use: _Use | None = None
        self._synced = asyncio.Event()  # set and replaced by each sync
        self._patient_until = 0.0  # until then the homeserver takes no message of the account's

    @property
    def is_owner(self) -> bool:
        """Whether this process has the account now and knows its rooms."""
        return self._use is not None and self._use.tenure.is_held

    async def run(self) -> None:
        """Have the account whenever it is free, and listen, until cancelled. It never ends by itself."""
        failures = 0
        while True:
            began = time.monotonic()
            tenure = None
            try:
                tenure = await self._keeper.take()
                if tenure is not None:
                    await self._hold(tenure)
            except (TenureOverError, StoreUnavailableError) as error:
                if tenure:
                    _log.warning("the Matrix account is left", user=self.user, why=str(error))
            except (*_AWAY, TryLater) as error:
                failures += 1
                if failures == 1:
                    _log.warning("the Matrix homeserver is away, waiting for it", why=str(error) or repr(error))
                await asyncio.sleep(pause(failures, error))
            except (LoginError, LoggedOutError, KeysTooLargeError, ListeningBrokenError, Refused) as error:
                failures = failures + 1 if time.monotonic() - began < SETTLED_SECONDS else 1
                _log.error("the Matrix account cannot be used", user=self.user, why=str(error) or repr(error))
                await asyncio.sleep(OPEN_BACKOFF.wait(failures).total_seconds())
            else:
                failures = 0
            await asyncio.sleep(self._keeper.beat.total_seconds())

    async def send(self, room: str, content: Mapping[str, Any], txn: str, *, event_type: str = "m.room.message") -> str:
        """Say something in a room, encrypted where the room is, and return the event's id.

        The same ``txn`` sent again is the same event. At most about 64 kB.

        Right before, the database is asked whether the account is still ours: a process that stood still while another
        took it says nothing, also where it has all the keys that it needs.

        Raises
        ------
        Refused
            The account is not in the room or may not speak there, the content is too large, or the room is encrypted
            and the account never can encrypt.
        TryLater
            This process does not have the account now, the homeserver is away or asks for patience, or an encrypted
            room cannot be served now. The patience that it asked of one message all others have: none is sent before.
        """
        async with self._speaking() as use:
            self._be_patient()
            if await self._is_encrypted(use, room):
                event_type, content = await use.encryption.encrypt(room, event_type, content)
            path = f"/rooms/{quote(room, safe='')}/send/{quote(event_type, safe='')}/{quote(txn, safe='')}"
            await use.tenure.renew()
            answer = await use.client.ask("PUT", path, content)
            if not answer.is_ok:
                raise self._noted(failure(answer, self.user))
            return answer.value("event_id")

    async def is_private(self, room: str) -> bool:
        """Say whether what is sent to a room is encrypted; ``TryLater`` where that cannot be told now."""
        async with self._speaking() as use:
            try:
                return await use.encrypted_rooms.is_encrypted(room) and use.client.keys_trouble is None
            except Refused:
                return False

    async def is_direct(self, room: str) -> bool:
        """Say whether a room is one of two people, the account being one of them."""
        return self._use is not None and is_direct(self._use.client, room)

    async def _hold(self, tenure: Tenure) -> None:
        """Use the account and renew the tenure beside; the first that fails ends both."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._renew(tenure))
                tasks.create_task(self._serve(tenure))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            with contextlib.suppress(StoreUnavailableError, TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await tenure.release()

    async def _renew(self, tenure: Tenure) -> None:
        while True:
            await asyncio.sleep(self._keeper.beat.total_seconds())
            with contextlib.suppress(StoreUnavailableError):  # until it is back nothing is sent: the lease has run out
                await tenure.renew()

    async def _serve(self, tenure: Tenure) -> None:
        client = await open_client(self._credentials, tenure, self._keeper)
        use = _Use(tenure, client, Encryption(client), EncryptedRooms(client))
        listener = Listener(
            client, use.encryption, allowed=self._allowed, since=tenure.kept.since, on_message=self.on_message,
            synced=partial(self._note_sync, use),
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(listener.run())
                tasks.create_task(listener.inbox.run())
                tasks.create_task(self._keep_since(tenure, listener.inbox))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._use = None
            try:
                with contextlib.suppress(TenureOverError, StoreUnavailableError, KeysTooLargeError, TimeoutError):
                    async with asyncio.timeout(END_SECONDS):
                        await client.store_keys()
                        await tenure.keep(since=listener.inbox.since)
            finally:  # also where it is cancelled while it ends
                await client.close()

    async def _keep_since(self, tenure: Tenure, inbox: Inbox) -> None:
        kept = inbox.since
        while True:
            await asyncio.sleep(self._keeper.beat.total_seconds())
            if inbox.since != kept:
                with contextlib.suppress(StoreUnavailableError):
                    kept = inbox.since
                    await tenure.keep(since=kept)

    def _note_sync(self, use: "_Use") -> None:
        self._use = use
        self._synced.set()
        self._synced = asyncio.Event()

    def _be_patient(self) -> None:
        """Raise ``TryLater`` while the homeserver wants no messages."""
        left = self._patient_until - time.monotonic()
        if left > 0:
            raise TryLater("the homeserver asked for patience a moment ago", slow_channel=True, after_seconds=left)

    def _noted(self, error: SendError) -> SendError:
        """Take note of how long the homeserver wants no messages, where it said so."""
        if isinstance(error, TryLater) and error.slow_channel and error.after_seconds:
            self._patient_until = max(self._patient_until, time.monotonic() + error.after_seconds)
        return error

    @asynccontextmanager
    async def _speaking(self) -> AsyncIterator["_Use"]:
        """Lend the account, and say in the channels' words what went wrong."""
        use = self._use
        if use is None or not self.is_owner:
            raise TryLater(f"this process does not have {self.user} now")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                yield use
        except Exception as error:
            was_closed = self._use is not use  # what it was speaking with: that can look like anything
            if was_closed or isinstance(error, TenureOverError):
                raise TryLater(f"this process lost {self.user} meanwhile") from error
            if isinstance(error, _AWAY):
                raise TryLater(f"the homeserver does not answer: {error or repr(error)}", slow_channel=True) from error
            if isinstance(error, (StoreUnavailableError, KeysTooLargeError)):
                raise TryLater(f"{self.user} cannot be used: {error or repr(error)}") from error
            raise

    async def _is_encrypted(self, use: "_Use", room: str) -> bool:
        """Say whether a room is encrypted, once the keys' side knows as well."""
        if not await use.encrypted_rooms.is_encrypted(room):
            return False
        if use.client.keys_trouble is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KNOWN_SECONDS):
                    while not use.knows_encrypted(room):
                        await self._synced.wait()
            if not use.knows_encrypted(room):
                raise TryLater("the members of the encrypted room are not known yet", after_seconds=1.0)
        return True


@dataclass(frozen=True, slots=True)
class _Use:
    """What this process has while it has the account."""

    tenure: Tenure
    client: Client
    encryption: Encryption
    encrypted_rooms: EncryptedRooms

    def knows_encrypted(self, room: str) -> bool:
        """Whether a sync told of a room that it is encrypted, and of its members."""
        known = self.client.rooms.get(room)
        return known is not None and bool(known.encrypted)
