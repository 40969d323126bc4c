"""nio's client, which stores keys before it spends them.

An Olm session moves on with each message: a process that used one, and died before the new position was stored, would
be followed by one that uses the same position again, and what that sends can be read by nobody. So the keys are stored
before each request that changes something, and before each ``/sync`` that tells the server to forget the messages to
this device of the one before. Nothing is stored where nothing changed.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import structlog
from nio import AsyncClient, AsyncClientConfig

from heliograph_notifier.channels.matrix.answers import Answer
from heliograph_notifier.channels.matrix.keeper import Session, Tenure, TenureOverError

_log = structlog.get_logger()

BASE = "/_matrix/client/v3"
REQUEST_SECONDS = 10.0
_CONFIG = AsyncClientConfig(
    max_timeouts=0,  # nio repeats by itself for ever unless told not to; here each caller knows when to try again
    max_limit_exceeded=0,
    request_timeout=REQUEST_SECONDS,
    encryption_enabled=False,  # the keys are loaded here: nio's own way asks for a folder
    store_sync_tokens=False,
)


class Client(AsyncClient):  # type: ignore[misc]  # nio has no types
    """The client of one tenure. ``keys_trouble`` says why it cannot encrypt; None where it can.

    Every request raises ``TenureOverError`` where the account may be somebody else's now.
    """

    olm: Any  # nio's own, None where there are no keys
    store: Any

    def __init__(self, homeserver: str, user: str, tenure: Tenure) -> None:
        super().__init__(homeserver.rstrip("/"), user, config=_CONFIG)
        self.user_id = user
        self._tenure = tenure
        self._saving = asyncio.Lock()
        self._saved_changes = -1
        self._is_closed = False
        self.keys_trouble: str | None = "it is not logged in"

    def restore(self, session: Session) -> None:
        """Speak with a session from now on."""
        self.device_id = session.device
        self.access_token = session.token

    def load_keys(self, content: bytes | None) -> None:
        """Encrypt from now on, with keys that were stored or with new ones."""
        from nio.crypto import Olm  # noqa: PLC0415 - needs vodozemac, without which the account still serves plain rooms

        from heliograph_notifier.channels.matrix.store import KeyStore  # noqa: PLC0415 - as above

        self.store = KeyStore(self.user_id, self.device_id, content)
        if content:
            self._saved_changes = self.store.changes
        self.olm = Olm(self.user_id, self.device_id, self.store)
        self.encrypted_rooms = self.store.load_encrypted_rooms()
        self.keys_trouble = None

    def forget_keys(self, trouble: str) -> None:
        """Encrypt no more."""
        self.keys_trouble = trouble
        self.olm = None
        if self.store:
            self.store.close()
            self.store = None

    async def store_keys(self) -> None:
        """Store the keys where they changed.

        Raises
        ------
        TenureOverError, KeysTooLargeError, StoreUnavailableError
            They are not stored: nothing that rests on them may go out.
        """
        async with self._saving:
            if self.store is None or self.store.changes == self._saved_changes:
                return
            self.olm.save_account()  # nio does so before it takes the key that began a session out of it, not after
            self.store.prune()
            changes = self.store.changes
            await self._tenure.keep(keys=self.store.serialize())
            self._saved_changes = changes

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask the server for something below ``/_matrix/client/v3``.

        Raises
        ------
        aiohttp.ClientError, TimeoutError
            There was no answer.
        """
        headers = {"Content-Type": "application/json"}
        if self.access_token:
            headers["Authorization"] = f"Bearer {self.access_token}"
        response = await self.send(method, BASE + path, None if body is None else json.dumps(body), headers)
        found = await self.parse_body(response)
        return Answer(response.status, found if isinstance(found, dict) else {})

    async def send(
        self, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None,
        trace_context: Any = None, timeout: float | None = None,  # noqa: ASYNC109 - nio's signature
    ) -> Any:  # fmt: skip
        """Send any request: all of nio's go through here."""
        if self.olm and "/keys/upload" in path:
            self.olm.save_account()  # nio has just made the keys that this uploads, and has them in memory alone
        if method != "GET" or path.startswith(f"{BASE}/sync"):
            await self.store_keys()
        if self._is_closed:
            raise TenureOverError  # nio would open a new connection
        self._tenure.check()
        return await super().send(method, path, data, headers, trace_context, timeout)

    async def close(self) -> None:
        """Break what is under way and forget the keys."""
        self._is_closed = True
        try:
            await super().close()
        finally:
            self.forget_keys("it is closed")

    def _handle_decrypt_to_device(self, event: Any) -> Any:
        """Open a message to this device; one that nio stumbles over is left, and the others are opened."""
        try:
            return super()._handle_decrypt_to_device(event)
        except Exception as error:  # noqa: BLE001 - anybody can send anything
            _log.warning("a message to the Matrix device cannot be opened", sender=event.sender, why=str(error))
            return None
