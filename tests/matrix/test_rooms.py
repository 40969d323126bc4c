"""Saying something in rooms, plain and encrypted: as those in them read it, and as it lies on the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from heliograph.channels import Refused, TryLater
from heliograph.storage import Database
from heliograph_notifier.channels.matrix import account as account_module
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.client import Client
from tests.parts.matrix import ENCRYPTION, Person, account, running, text
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until


@pytest.fixture
async def speaker(homeserver: Synapse, bot: User, database: Database) -> AsyncIterator[Account]:
    async with running(account(homeserver, bot, database)) as running_account:
        yield running_account


def types(server: Synapse, room: str, person: Person, sender: str) -> list[str]:
    """What somebody sent into a room, as the server has it."""
    return [
        event["type"]
        for event in server.events(room, person.user.token)
        if event["sender"] == sender and event["type"] != "m.room.member"
    ]


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_what_is_said_is_read(homeserver: Synapse, speaker: Account, alice: Person, is_encrypted: bool) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=is_encrypted)
    event = await speaker.send(room, text("the period is 11"), "txn-1")
    assert await alice.reads(event) == "the period is 11"
    assert types(homeserver, room, alice, speaker.user) == ["m.room.encrypted" if is_encrypted else "m.room.message"]
    assert await speaker.is_private(room) is is_encrypted


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_the_same_transaction_is_the_same_event(speaker: Account, alice: Person, is_encrypted: bool) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=is_encrypted)
    first = await speaker.send(room, text("once"), "txn-1")
    assert await speaker.send(room, text("again"), "txn-1") == first
    assert await speaker.send(room, text("twice"), "txn-2") != first
    assert await alice.reads(first) == "once"


async def test_a_relation_stands_outside_of_what_is_encrypted(
    homeserver: Synapse, speaker: Account, alice: Person
) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=True)
    root = await speaker.send(room, text("running"), "txn-1")
    edit = text("* done") | {
        "m.new_content": text("done"), "m.relates_to": {"rel_type": "m.replace", "event_id": root}
    }  # fmt: skip
    await speaker.send(room, edit, "txn-2")
    replaced = homeserver.event(room, root, alice.user.token)["unsigned"]["m.relations"]["m.replace"]
    assert replaced["type"] == "m.room.encrypted"
    assert "m.new_content" not in replaced["content"]


async def test_whoever_comes_later_reads_what_is_said_then(
    homeserver: Synapse, speaker: Account, alice: Person, registered: Any
) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=True)
    before = await speaker.send(room, text("before"), "txn-1")
    async with Person(homeserver, registered("bob")) as bob:
        await alice.client.room_invite(room, bob.id)
        await bob.client.join(room)
        await until(lambda: bob.id in speaker._use.client.rooms[room].users)  # type: ignore[union-attr]  # it runs
        after = await speaker.send(room, text("after"), "txn-2")
        assert await bob.reads(after) == "after"
        assert await alice.reads(after) == "after"
        assert await bob.reads(before) == "<MegolmEvent>"


async def test_a_new_device_of_a_member_reads_what_is_said_then(
    homeserver: Synapse, speaker: Account, alice: Person
) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=True)
    await speaker.send(room, text("before"), "txn-1")
    async with Person(homeserver, alice.user) as phone:
        assert phone.client.device_id != alice.client.device_id
        await until(lambda: phone.client.device_id in speaker._use.client.device_store[alice.id])  # type: ignore[union-attr]  # it runs
        after = await speaker.send(room, text("after"), "txn-2")
        assert await phone.reads(after) == "after"
        assert await alice.reads(after) == "after"


async def test_what_nobody_could_read_is_not_sent(
    homeserver: Synapse, speaker: Account, bot: User, registered: Any
) -> None:
    mute = registered("mute")  # has never uploaded keys
    created = homeserver.request(
        "POST", "/_matrix/client/v3/createRoom", {"invite": [bot.id], "initial_state": [ENCRYPTION]}, mute.token
    )
    room = created.raise_for_status().json()["room_id"]
    await until(lambda: room in speaker._use.client.rooms)  # type: ignore[union-attr]  # it runs
    with pytest.raises(TryLater, match="nobody"):
        await speaker.send(room, text("for nobody"), "txn-1")


async def test_a_key_that_did_not_arrive_is_sent_again(
    speaker: Account, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=True)
    ask = Client.send

    async def send(self: Client, method: str, path: str, *rest: Any) -> Any:
        if "/sendToDevice/" in path:
            raise TimeoutError
        return await ask(self, method, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "send", send)
        with pytest.raises(TryLater, match="did not reach"):
            await speaker.send(room, text("a secret"), "txn-1")
    event = await speaker.send(room, text("a secret"), "txn-1")
    assert await alice.reads(event) == "a secret"


async def test_a_send_that_was_cancelled_while_it_claimed_keys_blocks_no_other(
    homeserver: Synapse, speaker: Account, alice: Person, registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await alice.room_with(speaker.user, is_encrypted=True)
    await speaker.send(room, text("hello"), "txn-0")
    async with Person(homeserver, registered("bob")) as bob:
        await alice.client.room_invite(room, bob.id)
        await bob.client.join(room)
        await until(lambda: bob.id in speaker._use.client.rooms[room].users)  # type: ignore[union-attr]  # it runs
        claims = 0
        hangs = asyncio.Event()

        async def claim_nothing_then_hang(*_: Any) -> None:
            nonlocal claims
            claims += 1
            if claims > 1:  # the library's own, in the midst of its sharing
                hangs.set()
                await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(Client, "keys_claim", claim_nothing_then_hang)
            sending = asyncio.create_task(speaker.send(room, text("lost"), "txn-1"))
            await hangs.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        event = await asyncio.wait_for(speaker.send(room, text("found"), "txn-2"), 10)
        assert await alice.reads(event) == "found"
        assert await bob.reads(event) == "found"


@pytest.mark.parametrize("was_spoken_in", [False, True], ids=["never spoken in", "spoken in before"])
async def test_a_room_that_was_just_encrypted_gets_no_plain_word(
    homeserver: Synapse, speaker: Account, alice: Person, monkeypatch: pytest.MonkeyPatch, was_spoken_in: bool
) -> None:
    """Even where no sync tells of it: the listening stands still here."""
    room = await alice.room_with(speaker.user)
    expected = []
    if was_spoken_in:
        await speaker.send(room, text("plain"), "txn-0")
        expected = ["m.room.message"]
    go_on, stands = asyncio.Event(), asyncio.Event()
    sync = Client.sync

    async def wait_and_sync(self: Client, **options: Any) -> Any:
        stands.set()
        await go_on.wait()
        return await sync(self, **options)

    monkeypatch.setattr(Client, "sync", wait_and_sync)
    monkeypatch.setattr(account_module, "KNOWN_SECONDS", 0.2)
    await alice.say(room, "wake up")
    await stands.wait()
    homeserver.request(
        "PUT",
        f"/_matrix/client/v3/rooms/{quote(room)}/state/m.room.encryption",
        ENCRYPTION["content"],
        alice.user.token,
    ).raise_for_status()
    with pytest.raises(TryLater, match="not known yet"):
        await speaker.send(room, text("a secret"), "txn-1")
    assert types(homeserver, room, alice, speaker.user) == expected
    go_on.set()
    monkeypatch.setattr(account_module, "KNOWN_SECONDS", 5.0)
    event = await speaker.send(room, text("a secret"), "txn-1")
    assert types(homeserver, room, alice, speaker.user) == [*expected, "m.room.encrypted"]
    assert await alice.reads(event) == "a secret"


async def test_without_seal_keys_plain_rooms_are_served_and_encrypted_ones_refused(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database, seal_keys=None)) as speaker:
        encrypted = await alice.room_with(bot.id, is_encrypted=True)
        with pytest.raises(Refused, match="SEAL_KEYS"):
            await speaker.send(encrypted, text("a secret"), "txn-1")
        assert types(homeserver, encrypted, alice, bot.id) == []
        assert not await speaker.is_private(encrypted)
        plain = await alice.room_with(bot.id)
        assert await alice.reads(await speaker.send(plain, text("hello"), "txn-2")) == "hello"


async def test_a_room_that_the_account_was_sent_out_of_refuses(speaker: Account, alice: Person) -> None:
    room = await alice.room_with(speaker.user)
    await speaker.send(room, text("hello"), "txn-1")
    await alice.client.room_kick(room, speaker.user)
    with pytest.raises(Refused, match=f"invite {speaker.user}"):
        await speaker.send(room, text("still there?"), "txn-2")


async def test_a_room_that_the_account_was_never_in_refuses(speaker: Account, alice: Person) -> None:
    room = await alice.create_room(is_encrypted=True)
    with pytest.raises(Refused, match="invite"):
        await speaker.send(room, text("hello"), "txn-1")
    assert not await speaker.is_private(room)


async def test_what_is_too_large_is_refused(speaker: Account, alice: Person) -> None:
    room = await alice.room_with(speaker.user)
    with pytest.raises(Refused, match="M_TOO_LARGE"):
        await speaker.send(room, text("x" * 70_000), "txn-1")
