"""Invitations: those of people whom the settings allow are taken, all others are turned down."""

from collections.abc import Sequence
from urllib.parse import quote

import aiohttp
import structlog
from nio import InviteMemberEvent, SyncResponse

from heliograph.channels import Refused, TryLater
from heliograph_notifier.channels.matrix.answers import failure
from heliograph_notifier.channels.matrix.client import Client

_log = structlog.get_logger()

MOST_TRIES = 10  # of answering one invitation: the inviter's server may be gone


def is_allowed(inviter: str, allowed: Sequence[str], own: str) -> bool:
    """Say whether an invitation is taken: by its inviter or their server, by default by the account's own server."""
    server = inviter.partition(":")[2]
    if not allowed:
        return server == own.partition(":")[2]
    return inviter in allowed or server in allowed


class Invitations:
    """The invitations of one client that wait for an answer."""

    def __init__(self, client: Client, allowed: Sequence[str]) -> None:
        self._client = client
        self._allowed = allowed
        self._waiting: dict[str, InviteMemberEvent] = {}
        self._tries: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether none waits."""
        return not self._waiting

    def take_in(self, response: SyncResponse) -> None:
        """Note what a sync brought."""
        for room, invited in response.rooms.invite.items():
            for event in invited.invite_state:
                is_ours = isinstance(event, InviteMemberEvent) and event.state_key == self._client.user
                if is_ours and event.membership == "invite":
                    self._waiting[room] = event
        for room in (*response.rooms.join, *response.rooms.leave):
            self._waiting.pop(room, None)

    async def answer(self) -> None:
        """Answer those that wait; what cannot be answered now waits on."""
        for room, event in list(self._waiting.items()):
            try:
                if is_allowed(event.sender, self._allowed, self._client.user):
                    await self._join(room, event)
                else:
                    await self._turn_down(room, event.sender)
            except (TryLater, aiohttp.ClientError, TimeoutError) as error:
                self._tries[room] = self._tries.get(room, 0) + 1
                if self._tries[room] < MOST_TRIES:
                    continue
                _log.warning("an invitation cannot be answered", room=room, inviter=event.sender, why=str(error))
            except Refused as refused:  # it was taken back, or the room is gone
                _log.info("an invitation is void", room=room, inviter=event.sender, reply=refused.reply)
            self._waiting.pop(room, None)
            self._tries.pop(room, None)

    async def _join(self, room: str, event: InviteMemberEvent) -> None:
        answer = await self._client.ask("POST", f"/rooms/{quote(room, safe='')}/join", {})
        if not answer.is_ok:
            raise failure(answer, self._client.user)
        _log.info("joined a Matrix room", room=room, inviter=event.sender)
        if event.content.get("is_direct") is True:
            await self._mark_direct(room, event.sender)

    async def _turn_down(self, room: str, inviter: str) -> None:
        answer = await self._client.ask("POST", f"/rooms/{quote(room, safe='')}/leave", {})
        if not answer.is_ok:
            raise failure(answer, self._client.user)
        self._client.invited_rooms.pop(room, None)
        _log.info("turned down an invitation to a Matrix room", room=room, inviter=inviter)

    async def _mark_direct(self, room: str, inviter: str) -> None:
        """List a room among those of two people, where clients look for it: the other side has done so as well."""
        path = f"/user/{quote(self._client.user, safe='')}/account_data/m.direct"
        answer = await self._client.ask("GET", path)
        rooms = dict(answer.body) if answer.is_ok else {}
        rooms[inviter] = sorted({*rooms.get(inviter, ()), room})
        answer = await self._client.ask("PUT", path, rooms)
        if not answer.is_ok:
            raise failure(answer, self._client.user)
