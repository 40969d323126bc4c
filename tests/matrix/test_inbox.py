"""Being invited, and hearing what others say."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from heliograph.storage import Database
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.invitations import is_allowed
from heliograph_notifier.channels.matrix.keeper import ACCOUNTS
from heliograph_notifier.channels.matrix.messages import Message
from tests.parts.matrix import Person, account, running, text
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until

OWN = "@bot:hs.test"


class Heard:
    """What an account heard."""

    def __init__(self, account: Account) -> None:
        self.messages: list[Message] = []
        account.on_message = self._note

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.messages]

    async def wait_for(self, *bodies: str) -> None:
        await until(lambda: self.bodies[-len(bodies) :] == list(bodies))

    async def _note(self, message: Message) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(
    ("inviter", "allowed", "is_taken"),
    [
        ("@ada:hs.test", (), True),
        ("@ada:elsewhere.test", (), False),
        ("@ada:elsewhere.test", ("elsewhere.test",), True),
        ("@ada:hs.test", ("elsewhere.test",), False),
        ("@ada:hs.test", ("@ada:hs.test",), True),
        ("@eve:hs.test", ("@ada:hs.test",), False),
        ("@ada:hs.test:8448", ("hs.test",), False),
        ("@ada:hs.test:8448", ("hs.test:8448",), True),
    ],
)
def test_whose_invitations_are_taken(inviter: str, allowed: tuple[str, ...], is_taken: bool) -> None:
    assert is_allowed(inviter, allowed, OWN) is is_taken


async def test_invitations_are_answered_also_those_that_came_while_it_was_down(
    homeserver: Synapse, bot: User, alice: Person, database: Database, registered: Any
) -> None:
    allowed = (alice.id,)
    async with Person(homeserver, registered("eve")) as eve:
        early = [await alice.create_room(bot.id), await eve.create_room(bot.id)]
        async with running(account(homeserver, bot, database, allowed=allowed)):
            await alice.wait_for_member(early[0], bot.id)
        down = [await alice.create_room(bot.id), await eve.create_room(bot.id)]
        async with running(account(homeserver, bot, database, allowed=allowed)):
            await alice.wait_for_member(down[0], bot.id)
            late = [await alice.create_room(bot.id), await eve.create_room(bot.id)]
            await alice.wait_for_member(late[0], bot.id)
            for mine, foreign in (early, down, late):
                assert membership(homeserver, mine, bot, alice) == "join"
                await until(lambda room=foreign: membership(homeserver, room, bot, eve) == "leave")  # type: ignore[misc]


def membership(server: Synapse, room: str, user: User, witness: Person) -> str:
    path = f"/_matrix/client/v3/rooms/{quote(room)}/state/m.room.member/{quote(user.id)}"
    return str(server.get(path, witness.user.token)["membership"])


async def test_a_room_of_two_is_direct_and_listed_as_such(
    homeserver: Synapse, bot: User, alice: Person, database: Database, registered: Any
) -> None:
    async with running(account(homeserver, bot, database)) as listener:
        direct = await alice.room_with(bot.id, is_direct=True)
        path = f"/_matrix/client/v3/user/{quote(bot.id)}/account_data/m.direct"
        await until(lambda: homeserver.request("GET", path, token=bot.token).is_success)
        assert homeserver.get(path, bot.token) == {alice.id: [direct]}
        await until(lambda: listener.is_direct(direct))
        shared = await alice.create_room(bot.id, registered("bob").id)
        await alice.wait_for_member(shared, bot.id)
        await listener.send(shared, text("hello"), "txn-1")
        assert not await listener.is_direct(shared)


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_what_others_say_is_heard_and_nothing_else(
    homeserver: Synapse, bot: User, alice: Person, database: Database, is_encrypted: bool
) -> None:
    listener = account(homeserver, bot, database)
    heard = Heard(listener)
    async with running(listener):
        room = await alice.create_room(is_encrypted=is_encrypted)
        root = await alice.say(room, "before it came")
        await alice.client.room_invite(room, bot.id)
        await alice.wait_for_member(room, bot.id)
        await listener.send(room, text("my own"), "txn-1")
        await alice.say(room, "a notice", msgtype="m.notice")
        edited = await alice.say(room, "status")
        await alice.say(room, "* help", **{"m.relates_to": {"rel_type": "m.replace", "event_id": edited}})
        thread = await alice.say(room, "mute", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
        await heard.wait_for("status", "mute")
    assert heard.bodies == ["status", "mute"]
    assert heard.messages[0] == Message(room, alice.id, edited, "status", None, is_direct=True)
    assert heard.messages[1] == Message(room, alice.id, thread, "mute", root, is_direct=True)


async def test_what_was_said_while_it_was_down_is_heard_once(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    first = account(homeserver, bot, database)
    heard = Heard(first)
    async with running(first):
        room = await alice.room_with(bot.id, is_encrypted=True)
        await first.send(room, text("hello"), "txn-1")
        await alice.say(room, "one")
        await heard.wait_for("one")
    await alice.say(room, "two")
    second = account(homeserver, bot, database)
    heard = Heard(second)
    async with running(second):
        await heard.wait_for("two")
        await alice.say(room, "three")
        await heard.wait_for("three")
    assert heard.bodies == ["two", "three"]


async def test_a_message_whose_handling_failed_silences_no_other_and_an_answer_can_be_sent_from_there(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    listener = account(homeserver, bot, database)
    answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(message: Message) -> None:
        if message.body == "bad":
            raise ValueError(message.body)
        answered.set_result(await listener.send(message.room, text(f"you said {message.body}"), "txn-1"))

    listener.on_message = answer
    async with running(listener):
        room = await alice.room_with(bot.id, is_encrypted=True)
        await alice.say(room, "bad")
        await alice.say(room, "good")
        assert await alice.reads(await asyncio.wait_for(answered, 20)) == "you said good"


async def test_what_nobody_can_open_breaks_nothing(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    """Anybody may send anything to a device; a library that stumbles over it must not take the notifier along."""
    async with running(account(homeserver, bot, database)) as listener:
        client = listener._use.client  # type: ignore[union-attr]  # it runs
        own_key = client.olm.account.identity_keys["curve25519"]
        for kind, body in ((0, "no base64!"), (1, "AAAA"), (0, "AwogAAAA")):
            content = {
                "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "A" * 43,
                "ciphertext": {own_key: {"type": kind, "body": body}},
            }  # fmt: skip
            homeserver.request(
                "PUT", f"/_matrix/client/v3/sendToDevice/m.room.encrypted/t{kind}{body[:2]}",
                {"messages": {bot.id: {client.device_id: content}}}, alice.user.token,
            ).raise_for_status()  # fmt: skip
        room = await alice.room_with(bot.id, is_encrypted=True)
        event = await listener.send(room, text("unharmed"), "txn-1")
        assert await alice.reads(event) == "unharmed"
        assert listener._use.client is client  # type: ignore[union-attr]  # it runs


async def test_an_account_whose_memory_was_lost_does_not_hear_the_past_again(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    first = account(homeserver, bot, database)
    heard = Heard(first)
    async with running(first):
        room = await alice.room_with(bot.id)
        await alice.say(room, "old")
        await heard.wait_for("old")
    await database.collection(ACCOUNTS).delete_one({"_id": bot.id})
    second = account(homeserver, bot, database)
    heard = Heard(second)
    async with running(second):
        await alice.say(room, "new")
        await heard.wait_for("new")
    assert heard.bodies == ["new"]


async def test_a_homeserver_that_forgot_how_far_was_heard_is_heard_from_now_on(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database)):
        room = await alice.room_with(bot.id)
    await database.collection(ACCOUNTS).update_one({"_id": bot.id}, {"$set": {"since": "of another server"}})
    listener = account(homeserver, bot, database)
    heard = Heard(listener)
    async with running(listener):
        await alice.say(room, "new")
        await heard.wait_for("new")


async def test_an_answer_that_cannot_be_taken_in_is_left_behind(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = account(homeserver, bot, database, lease=timedelta(seconds=1))
    heard = Heard(listener)
    async with running(listener):
        room = await alice.room_with(bot.id, is_encrypted=True)
        take_in = Client._handle_sync

        async def stumble(self: Client, response: Any) -> None:
            await take_in(self, response)
            events = [event for info in response.rooms.join.values() for event in info.timeline.events]
            if any(getattr(event, "body", "") == "a riddle" for event in events):
                raise KeyError("what somebody sent")

        monkeypatch.setattr(Client, "_handle_sync", stumble)
        await alice.say(room, "a riddle")
        await until(lambda: not listener.is_owner)
        await until(lambda: listener.is_owner)
        await alice.say(room, "after it")
        await heard.wait_for("after it")
        assert await alice.reads(await listener.send(room, text("I am back"), "txn-1")) == "I am back"
