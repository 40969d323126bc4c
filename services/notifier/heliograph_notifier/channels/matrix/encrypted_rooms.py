"""Which rooms are encrypted: what is said in one of these never goes out in the clear.

A room that is encrypted stays so, and that is remembered. Of any other the server is asked each time: it knows before
the next sync does, and a question is some milliseconds.
"""

from http import HTTPStatus
from urllib.parse import quote

from heliograph_notifier.channels.matrix.answers import NOT_FOUND, failure
from heliograph_notifier.channels.matrix.client import Client


class EncryptedRooms:
    """What is known of the rooms of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._encrypted: set[str] = set()

    def is_known(self, room: str) -> bool:
        """Say whether a room was ever seen to be encrypted."""
        known = self._client.rooms.get(room)
        if room in self._client.encrypted_rooms or (known is not None and known.encrypted):
            self._encrypted.add(room)
        return room in self._encrypted

    async def is_encrypted(self, room: str) -> bool:
        """Say whether a room is encrypted as the server answers.

        Raises
        ------
        Refused, TryLater
            It cannot be told: the account is not in the room, or the server does not answer.
        """
        if self.is_known(room):
            return True
        answer = await self._client.ask("GET", f"/rooms/{quote(room, safe='')}/state/m.room.encryption")
        if answer.is_ok:
            self._encrypted.add(room)
            return True
        if answer.status == HTTPStatus.NOT_FOUND and answer.code == NOT_FOUND:
            return self.is_known(room)  # a sync may have been faster
        raise failure(answer, self._client.user)
