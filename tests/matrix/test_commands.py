"""What people say to the account in rooms, what it does for them, and for whom it does nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from nio import MegolmEvent, RoomMessageNotice

from heliograph.ids import short_id
from heliograph.jobs.states import State
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.mutes import MuteScope, MuteStore
from heliograph.notices.preferences import PreferenceStore
from heliograph_notifier.channels.matrix import acting
from heliograph_notifier.channels.matrix.channel import MatrixChannel
from heliograph_notifier.channels.matrix.messages import Message
from heliograph_notifier.channels.matrix.pace import Pace
from tests.parts.jobs import Stores, open_stores
from tests.parts.matrix import ENCRYPTION, Person, account
from tests.parts.matrix_channel import QUICK, channel
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until

ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture
async def stores(mongodb_url: str, database_name: str) -> AsyncIterator[Stores]:
    async with open_stores(mongodb_url, database_name) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Talk:
    """Somebody in a room with the account."""

    person: Person
    room: str
    bot: str
    matrix: MatrixChannel
    stores: Stores

    async def ask(self, words: str) -> str:
        """Say something, and return what the account answers to it."""
        asked = await self.person.say(self.room, words)
        await until(lambda: self._is_answered(asked))
        (answer,) = self.answers(asked)
        return str(answer.body)

    def answers(self, asked: str) -> list[Any]:
        seen = self.person.seen.values()
        assert not any(isinstance(each, MegolmEvent) and each.sender == self.bot for each in seen)
        return [each for each in seen if isinstance(each, RoomMessageNotice) and _answered(each) == asked]

    async def link(self, person: str = ADA) -> None:
        code = await LinkedUsers(self.stores.database).challenge(person, self.person.id)
        assert f"linked to {person}" in await self.ask(f"!heliograph link {code}")

    async def _is_answered(self, asked: str) -> bool:
        await self.person.sync()
        return bool(self.answers(asked))


def _answered(event: RoomMessageNotice) -> object:
    return event.source["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]


@asynccontextmanager
async def talk(
    homeserver: Synapse, bot: User, person: Person, stores: Stores, *others: str, pace: Pace = QUICK, **room: bool
) -> AsyncIterator[Talk]:
    async with channel(stores.database, account(homeserver, bot, stores.database), pace) as matrix:
        where = await person.create_room(bot.id, *others, **room)
        await person.wait_for_member(where, bot.id)
        assert matrix.account == bot.id  # whom people are asked to invite
        yield Talk(person, where, bot.id, matrix, stores)


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_a_person_links_themselves_and_sees_and_stops_their_own_jobs(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, is_encrypted: bool
) -> None:
    async with talk(homeserver, bot, alice, stores, is_encrypted=is_encrypted) as chat:
        mine, theirs = await stores.submit(owner=ADA, name="sunspots"), await stores.submit(owner=BOB, name="private")
        unknown = await chat.ask("status")
        assert f"heliograph notify link {alice.id}" in unknown
        assert short_id(mine.id) not in unknown
        await chat.link()
        listed = await chat.ask("status")
        assert f"{short_id(mine.id)} sunspots: queued" in listed
        assert "private" not in listed
        for identifier in (theirs.id, short_id(theirs.id)):
            assert await chat.ask(f"status {identifier}") == f"You have no job {identifier}."
            assert await chat.ask(f"cancel {identifier}") == f"You have no job {identifier}."
        assert "is cancelled" in await chat.ask(f"cancel {short_id(mine.id).lower()}")
        assert "is cancelled already" in await chat.ask(f"cancel {mine.id}")
        assert (await stores.jobs.get(mine.id)).state is State.CANCELLED
        assert (await stores.jobs.get(theirs.id)).state is State.QUEUED


async def test_silence_and_a_room_are_asked_for_by_words(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores
) -> None:
    mutes, preferences = MuteStore(stores.database), PreferenceStore(stores.database)
    job = await stores.submit(owner=ADA)
    async with talk(homeserver, bot, alice, stores) as chat:
        await chat.link()
        assert "told nothing until" in await chat.ask("mute 2h")
        (mute,) = await mutes.of_person(ADA)
        assert mute.scope is MuteScope.ALL
        assert mute.until is not None
        assert abs(mute.until - mute.created_at - timedelta(hours=2)) < timedelta(minutes=1)
        assert "told again" in await chat.ask("unmute")
        await chat.ask(f"mute {short_id(job.id)}")
        (mute,) = await mutes.of_person(ADA)
        assert (mute.scope, mute.of, mute.until) == (MuteScope.JOB, job.id, None)
        await chat.ask(f"unmute {short_id(job.id)}")
        assert await mutes.of_person(ADA) == []
        assert "in this room" in await chat.ask("here")
        assert (await preferences.get(ADA)).wishes["matrix"].recipient == chat.room
        assert (await LinkedUsers(stores.database).of_person(ADA)).rooms == (chat.room,)


async def test_among_others_it_speaks_when_spoken_to(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, registered: Callable[[str], User]
) -> None:
    async with (
        Person(homeserver, registered("mallory")) as mallory,
        talk(homeserver, bot, alice, stores, mallory.id) as chat,
    ):
        await mallory.client.join(chat.room)
        await alice.wait_for_member(chat.room, mallory.id)
        job = await stores.submit(owner=ADA, name="sunspots")
        await chat.link()
        unanswered = [await alice.say(chat.room, words) for words in ("status", "hello", "help", "heliograph help")]
        assert "sunspots" in await chat.ask("!h status")
        assert all(chat.answers(asked) == [] for asked in unanswered)
        hers = Talk(mallory, chat.room, bot.id, chat.matrix, stores)
        for words in ("status", f"status {job.id}", f"cancel {job.id}", "mute all", "here"):
            assert f"heliograph notify link {mallory.id}" in await hers.ask(f"!heliograph {words}")
        assert (await stores.jobs.get(job.id)).state is State.QUEUED
        # A code that somebody else was given links nobody.
        code = await LinkedUsers(stores.database).challenge(BOB, alice.id)
        assert "not open" in await hers.ask(f"!heliograph link {code}")


async def test_a_command_that_is_heard_again_is_done_and_answered_once(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores
) -> None:
    async with talk(homeserver, bot, alice, stores) as chat:
        await chat.link()
        asked = await alice.say(chat.room, "mute 2h")
        await until(lambda: chat._is_answered(asked))
        (first,) = await MuteStore(stores.database).of_person(ADA)
        await chat.matrix._conversation.hear(Message(chat.room, alice.id, asked, "mute 2h", is_direct=True))
        await chat.ask("help")
        assert len(chat.answers(asked)) == 1
        assert await MuteStore(stores.database).of_person(ADA) == [first]


async def test_a_room_that_cannot_be_answered_holds_up_no_other(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, registered: Callable[[str], User]
) -> None:
    """Nobody in it has a device that could read the answer; once somebody has, the answer comes."""
    silent = registered("silent")
    body = {"invite": [bot.id], "initial_state": [ENCRYPTION]}
    created = homeserver.request("POST", "/_matrix/client/v3/createRoom", body, silent.token)
    dark = created.raise_for_status().json()["room_id"]
    async with talk(homeserver, bot, alice, stores) as chat:
        hear = chat.matrix._conversation.hear
        await until(lambda: _is_in(homeserver, dark, bot, silent))
        await asyncio.wait_for(hear(Message(dark, silent.id, "$dark", "help", is_direct=True)), 60)
        assert "I do not know who you are" in await chat.ask("help")
        assert dark in chat.matrix._conversation._waiting, "it was given up, and the test shows nothing"
        for number in range(10):
            await hear(Message(dark, silent.id, f"$dark{number}", "help", is_direct=True))
        assert len(chat.matrix._conversation._waiting[dark]) <= 6
        async with Person(homeserver, silent) as person:
            await until(lambda: _hears(person, dark, bot))


def _is_in(homeserver: Synapse, room: str, bot: User, witness: User) -> bool:
    path = f"/_matrix/client/v3/rooms/{quote(room)}/state/m.room.member/{quote(bot.id)}"
    return bool(homeserver.get(path, witness.token)["membership"] == "join")


async def _hears(person: Person, room: str, bot: User) -> bool:
    await person.sync()
    return any(isinstance(each, RoomMessageNotice) and each.sender == bot.id for each in person.seen.values())


async def test_a_room_mutes_no_more_than_a_person_may(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "MOST_MUTES", 1)
    async with talk(homeserver, bot, alice, stores) as chat:
        await chat.link()
        assert "told nothing until" in await chat.ask("mute 2h")
        (first,) = await MuteStore(stores.database).of_person(ADA)
        assert "unmute ends them all" in await chat.ask("mute 3h")
        assert await MuteStore(stores.database).of_person(ADA) == [first]


async def test_who_says_much_at_once_gets_few_answers_and_slowly(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores
) -> None:
    async with talk(homeserver, bot, alice, stores, pace=Pace(answer_seconds=0.5)) as chat:
        await chat.link()
        said = [await alice.say(chat.room, "help") for _ in range(12)]
        await until(lambda: chat._is_answered(said[4]))
        answers = [answer for asked in said for answer in chat.answers(asked)]
        times = sorted(answer.server_timestamp for answer in answers)
        assert all(later - earlier >= 450 for earlier, later in pairwise(times))
        assert len(answers) <= 7
