"""Having the account: restarts, a second process, and a homeserver that is away, asks for patience or forgets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from heliograph.channels import Refused, TryLater
from heliograph.storage import Database, Document, StoreUnavailableError
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.encryption import Encryption
from heliograph_notifier.channels.matrix.keeper import ACCOUNTS, Keeper, Tenure, TenureOverError
from tests.parts.matrix import SEAL_KEY, Person, account, running, text
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until

SHORT = timedelta(seconds=1)


async def devices(server: Synapse, user: User) -> set[str]:
    """The devices of a user, without that of their registration."""
    found = server.get("/_matrix/client/v3/devices", user.token)["devices"]
    return {device["device_id"] for device in found} - {user.device}


async def kept(database: Database, user: User) -> Document:
    """What is kept of an account."""
    found: Document | None = await database.collection(ACCOUNTS).find_one({"_id": user.id})
    assert found
    return found


@contextlib.asynccontextmanager
async def struck_down(account: Account, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """Run an account that gives nothing back at its end, and stores nothing more: as one whose process was killed."""

    async def nothing(*_: Any, **__: Any) -> None:
        return

    async with running(account):
        yield account
        monkeypatch.setattr(Tenure, "release", nothing)
        monkeypatch.setattr(Tenure, "keep", nothing)
    monkeypatch.undo()


async def test_a_restart_keeps_the_device_and_goes_on(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        first = await speaker.send(room, text("one"), "txn-1")
    used = await devices(homeserver, bot)
    async with running(account(homeserver, bot, database, holder="notifier-2")) as speaker:
        assert await speaker.send(room, text("one again"), "txn-1") == first
        second = await speaker.send(room, text("two"), "txn-2")
    assert [await alice.reads(first), await alice.reads(second)] == ["one", "two"]
    assert await devices(homeserver, bot) == used
    assert len(used) == 1


async def test_one_at_a_time_has_the_account(homeserver: Synapse, bot: User, database: Database) -> None:
    async with running(account(homeserver, bot, database, lease=SHORT)) as first:
        second = account(homeserver, bot, database, holder="notifier-2", lease=SHORT)
        waiting = asyncio.create_task(second.run())
        await asyncio.wait([waiting], timeout=second._keeper.beat.total_seconds() * 2)
        assert first.is_owner
        assert not second.is_owner
        with pytest.raises(TryLater, match="does not have"):
            await second.send("!room:hs.test", text("hello"), "txn-1")
    await until(lambda: second.is_owner)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_another_takes_over_from_one_that_was_struck_down(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with struck_down(account(homeserver, bot, database, lease=SHORT), monkeypatch) as first:
        room = await alice.room_with(bot.id, is_encrypted=True)
        events = [await first.send(room, text("one"), "txn-1")]
    used = await devices(homeserver, bot)
    async with running(account(homeserver, bot, database, holder="notifier-2", lease=SHORT)) as second:
        events += [await second.send(room, text(body), f"txn-{body}") for body in ("two", "three")]
    assert [await alice.reads(event) for event in events] == ["one", "two", "three"]
    assert await devices(homeserver, bot) == used


@pytest.mark.parametrize("has_key", [True, False], ids=["with the room's key", "with a key to share"])
async def test_one_whose_time_is_over_sends_nothing_and_keeps_nothing(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch, has_key: bool
) -> None:
    """Its clock stood still: it believes that it has the account. Else the two would use the same keys."""
    room = ""
    async with running(account(homeserver, bot, database, lease=SHORT)) as stale:
        room = await alice.room_with(bot.id, is_encrypted=True)
        events = [await stale.send(room, text("one"), "txn-1")]
        never = asyncio.Event()
        monkeypatch.setattr(stale._use.tenure, "_until", float("inf"))  # type: ignore[union-attr]  # it runs
        monkeypatch.setattr(stale._use.tenure, "renew", never.wait)  # type: ignore[union-attr]  # it runs
        async with running(account(homeserver, bot, database, holder="notifier-2", lease=SHORT)) as owner:
            events.append(await owner.send(room, text("two"), "txn-2"))
            before = await kept(database, bot)
            assert stale.is_owner, "it noticed, and the test shows nothing"
            if not has_key:
                stale._use.client.invalidate_outbound_session(room)  # type: ignore[union-attr]  # it runs
            with pytest.raises(TryLater):
                await stale.send(room, text("stale"), "txn-3")
            assert (await kept(database, bot))["keys"] == before["keys"]
            await until(lambda: not stale.is_owner)
            owner._use.client.invalidate_outbound_session(room)  # type: ignore[union-attr]  # it runs
            events.append(await owner.send(room, text("four"), "txn-4"))
    assert [await alice.reads(event) for event in events] == ["one", "two", "four"]
    bodies = [getattr(event, "body", "") for event in alice.seen.values()]
    assert "stale" not in bodies


async def test_keys_are_stored_before_what_rests_on_them_goes_out(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes after a crash right before the request uses the next position of each key."""
    stored: list[bool] = []
    async with running(account(homeserver, bot, database)) as speaker:
        client = speaker._use.client  # type: ignore[union-attr]  # it runs
        request = client.client_session.request

        async def look(method: str, url: str, **options: Any) -> Any:
            if "/sendToDevice/" in url or "/keys/upload" in url or "/sync" in url:
                stored.append(client.store.changes == client._saved_changes)
            return await request(method, url, **options)

        monkeypatch.setattr(client.client_session, "request", look)
        room = await alice.room_with(bot.id, is_encrypted=True)
        await speaker.send(room, text("one"), "txn-1")
        await alice.say(room, "hello")
        await until(lambda: len(stored) > 4)
    assert all(stored)


async def test_without_the_database_the_account_rests(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError

    async with running(account(homeserver, bot, database, lease=SHORT)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        with monkeypatch.context() as patch:
            for name in ("take", "renew", "keep", "release"):
                patch.setattr(Keeper, name, away)
            with pytest.raises(TryLater):  # nobody has the room's key yet, and it cannot be kept
                await speaker.send(room, text("one"), "txn-1")
            await until(lambda: not speaker.is_owner)
            with pytest.raises(TryLater, match="does not have"):
                await speaker.send(room, text("one"), "txn-1")
        await until(lambda: speaker.is_owner)
        assert await alice.reads(await speaker.send(room, text("one"), "txn-1")) == "one"


async def test_one_that_is_cancelled_while_it_ends_leaves_no_connection(
    homeserver: Synapse, bot: User, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = asyncio.Event()

    async def lost(*_: object) -> None:
        await is_over.wait()
        raise TenureOverError

    monkeypatch.setattr(Account, "_keep_since", lost)
    monkeypatch.setattr("heliograph_notifier.channels.matrix.account.END_SECONDS", 60.0)
    async with running(speaker := account(homeserver, bot, database, lease=timedelta(minutes=1))):
        client = speaker._use.client  # type: ignore[union-attr]  # it runs
        session = client.client_session
        monkeypatch.setattr(client, "store_keys", asyncio.Event().wait)  # the database takes its time
        is_over.set()
        await until(lambda: speaker._use is None)
        assert not session.closed
    assert session.closed
    assert client.store is None


async def test_what_was_under_way_when_the_account_was_lost_is_tried_again_later(
    homeserver: Synapse, bot: User, alice: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it speaks with is closed under its hands, and that looks like a refusal."""
    encrypt = Encryption.encrypt

    async def encrypt_after_the_loss(self: Encryption, *arguments: Any) -> Any:
        await database.collection(ACCOUNTS).update_one({"_id": bot.id}, {"$inc": {"epoch": 1}})
        await until(lambda: self._client.keys_trouble)
        return await encrypt(self, *arguments)

    async with running(account(homeserver, bot, database, lease=SHORT)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        with monkeypatch.context() as patch:
            patch.setattr(Encryption, "encrypt", encrypt_after_the_loss)
            with pytest.raises(TryLater, match="lost"):
                await speaker.send(room, text("one"), "txn-1")
        await until(lambda: speaker.is_owner)
        assert await alice.reads(await speaker.send(room, text("one"), "txn-1")) == "one"


async def test_a_homeserver_that_is_away_is_waited_for(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        await speaker.send(room, text("one"), "txn-1")
        await asyncio.to_thread(homeserver.stop)
        try:
            with pytest.raises(TryLater, match="does not answer") as caught:
                await speaker.send(room, text("two"), "txn-2")
            assert caught.value.slow_channel
        finally:
            await asyncio.to_thread(homeserver.start)
        event = await speaker.send(room, text("two"), "txn-2")
        assert await alice.reads(event) == "two"


async def test_a_homeserver_that_asks_for_patience_gets_it(
    tmp_path_factory: pytest.TempPathFactory, homeserver: Synapse, database: Database
) -> None:
    strict = {"rc_message": {"per_second": 0.01, "burst_count": 2}}
    with Synapse(tmp_path_factory.mktemp("strict"), strict) as server:
        user = server.register("bot")
        speaker = account(server, user, database)
        async with Person(server, server.register("alice")) as alice, running(speaker):
            room = await alice.room_with(user.id)

            async def send_many() -> None:
                for number in range(5):
                    await speaker.send(room, text("hello"), f"txn-{number}")

            with pytest.raises(TryLater, match="M_LIMIT_EXCEEDED") as caught:
                await send_many()
            with pytest.raises(TryLater, match="asked for patience") as held:  # it is not asked again meanwhile
                await speaker.send(room, text("hello"), "txn-more")
    for later in (caught.value, held.value):
        assert later.slow_channel
        assert later.after_seconds is not None
        assert 0 < later.after_seconds <= 100


async def test_a_session_that_was_revoked_is_followed_by_a_new_device(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database, lease=SHORT)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        await speaker.send(room, text("one"), "txn-1")
        before = await devices(homeserver, bot)
        token = speaker._use.client.access_token  # type: ignore[union-attr]  # it runs
        homeserver.request("POST", "/_matrix/client/v3/logout", {}, token).raise_for_status()
        await until(lambda: not speaker.is_owner)
        await until(lambda: speaker.is_owner)
        event = await speaker.send(room, text("two"), "txn-2")
    assert await alice.reads(event) == "two"
    assert len(await devices(homeserver, bot)) == 1
    assert await devices(homeserver, bot) != before


async def test_an_access_token_will_do(homeserver: Synapse, bot: User, alice: Person, database: Database) -> None:
    async with running(account(homeserver, bot, database, by_token=True)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        first = await speaker.send(room, text("one"), "txn-1")
    async with running(account(homeserver, bot, database, by_token=True)) as speaker:
        second = await speaker.send(room, text("two"), "txn-2")
    assert [await alice.reads(first), await alice.reads(second)] == ["one", "two"]
    assert await devices(homeserver, bot) == set()


async def test_a_device_whose_keys_lie_elsewhere_serves_plain_rooms_alone(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database, by_token=True)):
        pass
    await database.collection(ACCOUNTS).delete_one({"_id": bot.id})
    async with running(account(homeserver, bot, database, by_token=True)) as speaker:
        encrypted = await alice.room_with(bot.id, is_encrypted=True)
        with pytest.raises(Refused, match="not kept here"):
            await speaker.send(encrypted, text("a secret"), "txn-1")
        plain = await alice.room_with(bot.id)
        assert await alice.reads(await speaker.send(plain, text("hello"), "txn-2")) == "hello"


async def test_other_seal_keys_make_a_new_device(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database)):
        pass
    other = "9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3928"
    async with running(account(homeserver, bot, database, seal_keys=(other, SEAL_KEY))):
        pass
    assert len(await devices(homeserver, bot)) == 1
    async with running(account(homeserver, bot, database, seal_keys=("f" * 32,))) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        assert await alice.reads(await speaker.send(room, text("hello"), "txn-1")) == "hello"
    assert len(await devices(homeserver, bot)) == 2


async def test_without_seal_keys_a_restart_makes_no_second_device(
    homeserver: Synapse, bot: User, alice: Person, database: Database
) -> None:
    async with running(account(homeserver, bot, database, seal_keys=None)) as speaker:
        room = await alice.room_with(bot.id)
        first = await speaker.send(room, text("one"), "txn-1")
    async with running(account(homeserver, bot, database, seal_keys=None)) as speaker:
        assert await speaker.send(room, text("one"), "txn-1") == first
    assert len(await devices(homeserver, bot)) == 1
    document = await kept(database, bot)
    assert "session" not in document
    assert "keys" not in document


async def test_nothing_secret_lies_in_the_database_in_the_clear(
    homeserver: Synapse, bot: User, database: Database
) -> None:
    async with running(account(homeserver, bot, database)) as speaker:
        token = speaker._use.client.access_token  # type: ignore[union-attr]  # it runs
    document = await kept(database, bot)
    assert {"session", "keys"} <= document.keys()
    assert token not in repr(document)
    assert b"SQLite" not in document["keys"]


async def test_nothing_is_written_to_a_disk(
    homeserver: Synapse, bot: User, alice: Person, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(account(homeserver, bot, database)) as speaker:
        room = await alice.room_with(bot.id, is_encrypted=True)
        await speaker.send(room, text("one"), "txn-1")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a look that is over at once


async def test_a_homeserver_that_is_away_at_the_start_is_waited_for_and_a_wrong_password_does_no_harm(
    homeserver: Synapse, bot: User, database: Database
) -> None:
    wrong = account(homeserver, replace(bot, password="wrong"), database, lease=SHORT)
    trying = asyncio.create_task(wrong.run())
    await until(lambda: database.collection(ACCOUNTS).find_one({"device": {"$exists": True}}))
    assert not wrong.is_owner
    assert not trying.done()
    trying.cancel()
    await asyncio.wait([trying])
    await asyncio.to_thread(homeserver.stop)
    try:
        waiting = asyncio.create_task((right := account(homeserver, bot, database, lease=SHORT)).run())
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
    finally:
        await asyncio.to_thread(homeserver.start)
    await until(lambda: right.is_owner)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert len(await devices(homeserver, bot)) == 1
