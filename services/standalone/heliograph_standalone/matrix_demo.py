"""A room for the demo: an encrypted one on a throw-away homeserver, and what a person in it sees.

Importing this module imports the Matrix library.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nio import (
    AsyncClient,
    AsyncClientConfig,
    Event,
    LoginResponse,
    MegolmEvent,
    RegisterResponse,
    RoomCreateResponse,
    RoomMessageText,
    SyncResponse,
)
from nio.store import SqliteMemoryStore

from heliograph_standalone.homeserver import SERVER_NAME, HomeserverError, homeserver

BOT, PERSON = f"@heliograph:{SERVER_NAME}", f"@ada:{SERVER_NAME}"
JOIN_SECONDS = 30.0
_ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@dataclass(slots=True)
class Seen:
    """A message as its reader's client shows it: its words now, how often it was edited, and its thread."""

    body: str
    edits: int = 0
    thread: list[str] = field(default_factory=list)


class DemoRoom:
    """The room of a person, into which they invited the notifier's account."""

    def __init__(self, url: str, bot_password: str, client: AsyncClient) -> None:
        self.url = url
        self.bot_password = bot_password
        self.id = ""
        self._client = client
        self._events: dict[str, Event] = {}
        client.add_event_callback(self._take, Event)

    async def open(self) -> None:
        """Create the room."""
        await self._sync()
        made = await self._client.room_create(name="sunspots", invite=[BOT], initial_state=[_ENCRYPTED])
        if not isinstance(made, RoomCreateResponse):
            raise HomeserverError(f"the room cannot be created: {made}")
        self.id = made.room_id

    async def wait_for_bot(self) -> None:
        """Return once the notifier has come in: it says nothing in rooms where it is not."""
        async with asyncio.timeout(JOIN_SECONDS):
            while True:
                await self._sync()
                room = self._client.rooms.get(self.id)
                if room is not None and BOT in room.users and BOT not in room.invited_users:
                    return

    async def as_seen(self) -> list[Seen]:
        """Return what the person's own client shows of what the notifier said, decrypted by itself."""
        await self._sync()
        return room_as_seen([event for event in self._events.values() if event.sender == BOT])

    async def _sync(self) -> None:
        # Synapse answers an identical question of the last two minutes from its memory: no two are alike.
        answer = await self._client.sync(timeout=random.randrange(50, 500))  # noqa: S311 - guards nothing
        if not isinstance(answer, SyncResponse):
            raise HomeserverError(f"the homeserver does not answer: {answer}")
        if self._client.should_upload_keys:
            await self._client.keys_upload()
        if self._client.should_query_keys:
            await self._client.keys_query()
        await self._client.send_to_device_messages()

    async def _take(self, _room: object, event: Event) -> None:
        self._events[event.event_id] = event


class _Words(HTMLParser):
    """The words of a message as a client shows them: its markup laid out, its links by their labels."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag in {"br", "tr", "pre", "table"}:
            self._break()
        elif tag == "p" and self.words:
            self.words = self.words.rstrip("\n") + "\n\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"p", "table", "pre"}:
            self._break()
        elif tag == "td":
            self.words += "  "

    def handle_data(self, data: str) -> None:
        self.words += data

    def _break(self) -> None:
        if self.words and not self.words.endswith("\n"):
            self.words = self.words.rstrip(" ") + "\n"


def room_as_seen(events: list[Any]) -> list[Seen]:
    """Put edits and threads where a client shows them; what cannot be decrypted is shown as that."""
    seen: dict[str, Seen] = {}
    for event in events:
        if not isinstance(event, RoomMessageText):
            if isinstance(event, MegolmEvent):
                seen[event.event_id] = Seen("(cannot be decrypted)")
            continue
        content = event.source["content"]
        relation = content.get("m.relates_to", {})
        root = seen.get(relation.get("event_id", ""))
        if root is not None and relation.get("rel_type") == "m.replace":
            root.body, root.edits = _shown(content["m.new_content"]), root.edits + 1
        elif root is not None and relation.get("rel_type") == "m.thread":
            root.thread.append(_shown(content))
        else:
            seen[event.event_id] = Seen(_shown(content))
    return list(seen.values())


def _shown(content: Mapping[str, Any]) -> str:
    return _Words(content["formatted_body"]).words.strip()


@contextlib.asynccontextmanager
async def demo_room(folder: Path) -> AsyncIterator[DemoRoom]:
    """Open a room on a homeserver of its own, with a person in it and the notifier invited."""
    async with homeserver(folder) as url:
        password = await _register(url, BOT)
        config = AsyncClientConfig(
            store=SqliteMemoryStore, encryption_enabled=True, max_timeouts=0, max_limit_exceeded=0, request_timeout=20
        )
        client = AsyncClient(url, PERSON, config=config)
        try:
            answer = await client.login(await _register(url, PERSON), device_name="the demo")
            if not isinstance(answer, LoginResponse):
                raise HomeserverError(f"{PERSON} cannot log in: {answer}")
            room = DemoRoom(url, password, client)
            await room.open()
            yield room
        finally:
            await client.close()
            if client.store:
                client.store.database.close()


async def _register(url: str, user: str) -> str:
    """Register a user, and return their password."""
    client, password = AsyncClient(url, user), secrets.token_hex(16)
    try:
        answer = await client.register(user.partition(":")[0][1:], password)
        if not isinstance(answer, RegisterResponse):
            raise HomeserverError(f"{user} cannot be registered: {answer}")
    finally:
        await client.close()
    return password
