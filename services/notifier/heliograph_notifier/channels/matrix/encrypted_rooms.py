"""Which rooms are encrypted: what is said in one of these never goes out in the clear.

A room that is encrypted stays so, and that is remembered. That one is not encrypted is taken for granted for some
seconds: then the server is asked again, which knows before the next sync does.
"""

import time
from http import HTTPStatus
from urllib.parse import quote

from heliograph_notifier.channels.matrix.answers import NOT_FOUND, failure
from heliograph_notifier.channels.matrix.client import Client

PLAIN_SECONDS = 10.0  # a room with a bar that moves costs one question in ten edits


class EncryptedRooms:
    """What is known of the rooms of one client. ``plain_seconds``: how long a room is taken to be still plain."""

    def __init__(self, client: Client, plain_seconds: float = PLAIN_SECONDS) -> None:
        self._client = client
        self._plain_seconds = plain_seconds
        self._encrypted: set[str] = set()
        self._plain: dict[str, float] = {}  # rooms, and until when that holds

    def is_known(self, room: str) -> bool:
        """Say whether a room was ever seen to be encrypted."""
        known = self._client.rooms.get(room)
        if room in self._client.encrypted_rooms or (known is not None and known.encrypted):
            self._encrypted.add(room)
        return room in self._encrypted

    async def is_encrypted(self, room: str) -> bool:
        """Say whether a room is encrypted.

        Raises
        ------
        Refused, TryLater
            It cannot be told: the account is not in the room, or the server does not answer.
        """
        if self.is_known(room):
            return True
        if self._plain.get(room, 0.0) > time.monotonic():
            return False
        asked = time.monotonic()
        answer = await self._client.ask("GET", f"/rooms/{quote(room, safe='')}/state/m.room.encryption")
        if answer.is_ok:
            self._encrypted.add(room)
            return True
        if answer.status == HTTPStatus.NOT_FOUND and answer.code == NOT_FOUND:
            self._plain[room] = asked + self._plain_seconds
            return self.is_known(room)  # a sync may have been faster
        raise failure(answer, self._client.user)
