"""What others said to the account, taken out of what a sync brought, and handed on one after the other."""

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog
from nio import RoomMemberEvent, RoomMessageText, SyncResponse

from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.messages import Message, OnMessage

_log = structlog.get_logger()

_MOST_WAITING = 1_000  # syncs whose messages are not handled yet; then the next one waits


def heard(client: Client, response: SyncResponse) -> list[Message]:
    """Return the text messages of others in a sync: no edits, and nothing from before the account came in."""
    return [
        _message(client, room, event)
        for room, info in response.rooms.join.items()
        for event in _since_joined(info.timeline.events, client.user)
        if isinstance(event, RoomMessageText)
        and event.sender != client.user
        and _relation(event).get("rel_type") != "m.replace"
    ]


def _since_joined(events: list[Any], own: str) -> Iterable[Any]:
    """Leave out what was said before the account's own joining, where that is among the events."""
    joined = [
        number
        for number, event in enumerate(events)
        if isinstance(event, RoomMemberEvent)
        and event.state_key == own
        and event.membership == "join"
        and event.prev_membership != "join"  # else it only changed its name
    ]
    return events[joined[-1] + 1 :] if joined else events


def _message(client: Client, room: str, event: RoomMessageText) -> Message:
    relation = _relation(event)
    root = relation.get("event_id") if relation.get("rel_type") == "m.thread" else None
    return Message(room, event.sender, event.event_id, event.body, root, is_direct(client, room))


def _relation(event: RoomMessageText) -> dict[str, Any]:
    relation = event.source["content"].get("m.relates_to")
    return relation if isinstance(relation, dict) else {}


def is_direct(client: Client, room: str) -> bool:
    """Say whether a room is one of two people."""
    known = client.rooms.get(room)
    return known is not None and len(known.users) == 2


class Inbox:
    """Hands messages on beside the syncing, so that what handles them can wait for a sync.

    ``since`` is the sync up to which all are handled: from there a successor goes on, and repeats what was not.
    """

    def __init__(self, on_message: OnMessage | None, since: str | None) -> None:
        self._on_message = on_message
        self._waiting: asyncio.Queue[tuple[list[Message], str | None]] = asyncio.Queue(_MOST_WAITING)
        self.since = since

    async def put(self, messages: list[Message], since: str | None) -> None:
        """Hand on what a sync brought; ``since`` is that sync, None where more than messages is to be handled of it."""
        await self._waiting.put((messages, since))

    async def run(self) -> None:
        """Handle messages until cancelled."""
        while True:
            messages, since = await self._waiting.get()
            for message in messages:
                await self._handle(message)
            self.since = since or self.since

    async def _handle(self, message: Message) -> None:
        if self._on_message is None:
            return
        try:
            await self._on_message(message)
        except Exception:  # noqa: BLE001 - one message that cannot be handled must not silence the rest
            _log.exception("a Matrix message cannot be handled", room=message.room, event_id=message.event_id)
