"""People on a homeserver, each with a client of their own, and accounts that run for a test."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

from nio import (
    AsyncClient,
    AsyncClientConfig,
    Event,
    LoginResponse,
    RoomCreateResponse,
    RoomSendResponse,
    SyncResponse,
)
from nio.store import SqliteMemoryStore

from heliograph.storage import Database
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.keeper import Keeper
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until

SEAL_KEY = "0c5d9b7e1f2a3846b0c9d8e7f6a5941302b1c0d9e8f7a6b5"
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


class Person:
    """Somebody's client. What it was shown lies in ``seen``: events by their ids, decrypted where that went."""

    def __init__(self, server: Synapse, user: User) -> None:
        self.server = server
        self.user = user
        self.seen: dict[str, Event] = {}
        config = AsyncClientConfig(
            store=SqliteMemoryStore, encryption_enabled=True, max_timeouts=0, max_limit_exceeded=0, request_timeout=10
        )
        self.client = AsyncClient(server.url, user.id, config=config)
        self.client.add_event_callback(self._see, Event)

    @property
    def id(self) -> str:
        return self.user.id

    async def __aenter__(self) -> Self:
        answer = await self.client.login(self.user.password)
        assert isinstance(answer, LoginResponse), answer
        await self.sync()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        if self.client.store:
            self.client.store.database.close()

    async def sync(self) -> SyncResponse:
        """Take in what happened, with the housekeeping of keys that a person's client does."""
        answer = await self.client.sync(
            timeout=random.randrange(1, 60), sync_filter={"room": {"timeline": {"limit": 500}}}
        )
        assert isinstance(answer, SyncResponse), answer
        if self.client.should_upload_keys:
            await self.client.keys_upload()
        if self.client.should_query_keys:
            await self.client.keys_query()
        await self.client.send_to_device_messages()
        return answer

    async def create_room(self, *invited: str, is_encrypted: bool = False, is_direct: bool = False) -> str:
        """Create a room and invite others; returns its id."""
        answer = await self.client.room_create(
            invite=invited, is_direct=is_direct, initial_state=[ENCRYPTION] if is_encrypted else []
        )
        assert isinstance(answer, RoomCreateResponse), answer
        await self.sync()
        room: str = answer.room_id
        return room

    async def room_with(self, other: str, *, is_encrypted: bool = False, is_direct: bool = False) -> str:
        """Create a room with an account that runs, and return its id once the account has come in."""
        room = await self.create_room(other, is_encrypted=is_encrypted, is_direct=is_direct)
        await self.wait_for_member(room, other)
        return room

    async def wait_for_member(self, room: str, other: str) -> None:
        """Return once somebody is in a room."""

        async def is_in() -> bool:
            await self.sync()
            return other in self.client.rooms[room].users and other not in self.client.rooms[room].invited_users

        await until(is_in)

    async def say(self, room: str, body: str, **content: Any) -> str:
        """Say something, and return the event's id."""
        await self.sync()
        answer = await self.client.room_send(
            room, "m.room.message", {"msgtype": "m.text", "body": body} | content, ignore_unverified_devices=True
        )
        assert isinstance(answer, RoomSendResponse), answer
        event: str = answer.event_id
        return event

    async def sees(self, event: str) -> Event:
        """Return an event once this client was shown it."""

        async def is_shown() -> bool:
            await self.sync()
            return event in self.seen

        await until(is_shown)
        return self.seen[event]

    async def reads(self, event: str) -> str:
        """Return the body of an event as this client shows it; ``<MegolmEvent>`` where it cannot be decrypted."""
        shown = await self.sees(event)
        return getattr(shown, "body", f"<{type(shown).__name__}>")

    async def _see(self, _room: object, event: Event) -> None:
        self.seen[event.event_id] = event


def account(
    server: Synapse, user: User, database: Database, *, holder: str = "notifier-1",
    seal_keys: Sequence[str] | None = (SEAL_KEY,), allowed: Sequence[str] = (), by_token: bool = False,
    lease: timedelta = timedelta(seconds=5),
) -> Account:  # fmt: skip
    """Make an account that logs in with its password, or with its access token; it does not run yet."""
    keeper = Keeper(database, user.id, holder, seal_keys, lease=lease)
    proof = {"access_token": user.token} if by_token else {"password": user.password}
    return Account(server.url, user.id, keeper, allowed=allowed, **proof)


@asynccontextmanager
async def running(account: Account) -> AsyncIterator[Account]:
    """Run an account, ready to send."""
    task = asyncio.create_task(account.run())
    try:
        await until(lambda: account.is_owner or task.done())
        if task.done():
            await task
        yield account
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def text(body: str) -> dict[str, str]:
    return {"msgtype": "m.text", "body": body}
