"""Encrypting for a room, so that everybody in it can read it: or not at all.

nio marks a room's key as shared whether or not its delivery went well, and stands still for ever where claiming keys
was interrupted; both are looked at here.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from nio import ErrorResponse

from heliograph.channels import Refused, TryLater
from heliograph_notifier.channels.matrix.answers import Answer, failure
from heliograph_notifier.channels.matrix.client import Client

_log = structlog.get_logger()

_TRIES = 3  # of making a room's key while members come and go
_ABSENT_SECONDS = 60.0  # users whose server did not tell their devices are asked for again after this


class Encryption:
    """Keeps one client's keys in order and encrypts with them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tending = asyncio.Lock()  # two uploads at a time would give different keys the same name
        self._rooms: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._absent: dict[str, float] = {}  # users, and until when they are not asked for

    async def tend(self) -> None:
        """Do what is to be done about keys after a sync."""
        if self._client.olm is None:
            return
        async with self._tending:
            if self._client.should_upload_keys:
                await self._upload()
            await self._query()
            if self._client.olm and self._client.should_claim_keys:
                self._require(await self._client.keys_claim(self._client.get_users_for_key_claiming()))
            if self._client.olm:
                await self._client.send_to_device_messages()

    async def encrypt(self, room: str, event_type: str, content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the type and the content of the encrypted event.

        Raises
        ------
        Refused, TryLater
            It cannot be encrypted so that those in the room can read it.
        """
        if self._client.keys_trouble:
            raise Refused(f"the room is encrypted, and {self._client.user} cannot encrypt: {self._client.keys_trouble}")
        async with self._rooms[room]:
            for _ in range(_TRIES):
                await self._share_key(room)
                if self._client.olm and not self._client.olm.should_share_group_session(room):
                    encrypted: tuple[str, Mapping[str, Any]] = self._client.encrypt(room, event_type, dict(content))
                    return encrypted
        raise TryLater("people come into and leave the encrypted room too fast", after_seconds=1.0)

    async def _share_key(self, room: str) -> None:
        """See that everybody in a room has its key."""
        client = self._client
        if not client.rooms[room].members_synced:
            self._require(await client.joined_members(room))
        async with self._tending:
            await self._query()
        if not client.olm.should_share_group_session(room):
            return
        if missing := client.get_missing_sessions(room):
            self._require(await client.keys_claim(missing))
        readers = self._readers(room)
        if all(user == client.user for user, _ in readers):
            raise TryLater(f"nobody but {client.user} in the encrypted room has a device that could read it")
        try:
            await client.share_group_session(room, ignore_unverified_devices=True)
        finally:
            if waiting := client.sharing_session.pop(room, None):
                waiting.set()
        key = client.olm.outbound_group_sessions.get(room)
        if key and (left_out := readers - key.users_shared_with):
            del client.olm.outbound_group_sessions[room]
            names = ", ".join(sorted(f"{user} ({device})" for user, device in left_out)[:3])
            raise TryLater(f"the encrypted room's key did not reach {names}", after_seconds=1.0)

    def _readers(self, room: str) -> set[tuple[str, str]]:
        """Return the users and devices that can be given a room's key."""
        client = self._client
        return {
            (device.user_id, device.id)
            for user in client.rooms[room].users
            for device in client.device_store.active_user_devices(user)
            if device.id != client.device_id and client.olm.session_store.get(device.curve25519)
        }

    async def _upload(self) -> None:
        answer = await self._client.keys_upload()
        if isinstance(answer, ErrorResponse) and answer.transport_response.status == HTTPStatus.BAD_REQUEST:
            # It has other keys of this device, by the same names: for good.
            _log.error("the homeserver refuses the Matrix device's keys", reply=answer.message)
            self._client.forget_keys(f"the homeserver refuses its keys: {answer.message}")
            return
        self._require(answer)

    async def _query(self) -> None:
        """Ask for the devices of those whose devices changed."""
        now = time.monotonic()
        wanted = self._client.users_for_key_query
        if all(self._absent.get(user, 0.0) > now for user in wanted):
            return
        self._require(await self._client.keys_query())
        self._absent = dict.fromkeys(self._client.users_for_key_query, now + _ABSENT_SECONDS)

    def _require(self, answer: Any) -> None:
        if isinstance(answer, ErrorResponse):
            raise failure(Answer.of(answer), self._client.user)
