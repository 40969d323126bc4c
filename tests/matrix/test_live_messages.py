"""One message for each job in a room: edited while the job runs, the notices below it, as those in the room see it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heliograph.jobs.model import Job
from heliograph.jobs.store.claims import Progress
from heliograph.notices.indexes import DELIVERIES, ensure_notice_indexes
from heliograph.notices.model import DeliveryStatus, Outcome, Subject
from heliograph_notifier.campaigns.store import ensure_campaign_indexes
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.channel import MatrixChannel
from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.content import Text, message
from heliograph_notifier.channels.matrix.keeper import ACCOUNTS
from heliograph_notifier.channels.matrix.live_messages import LIVE_MESSAGES, LiveMessage, Watch
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_notifier.disclosure import Disclosure
from tests.parts.jobs import Stores, done, failed, lease_of, open_stores
from tests.parts.matrix import ENCRYPTION, Person, account
from tests.parts.matrix_channel import Office, Shown, channel, room_wish, shown
from tests.parts.notifier import told
from tests.parts.smtp import MailServer
from tests.parts.synapse import Synapse, User
from tests.parts.waiting import until

SENT = DeliveryStatus.SENT
FULL = {"matrix": Disclosure.FULL}


@pytest.fixture
async def stores(mongodb_url: str, database_name: str) -> AsyncIterator[Stores]:
    async with open_stores(mongodb_url, database_name) as opened:
        await ensure_notice_indexes(opened.database)
        await ensure_campaign_indexes(opened.database)
        yield opened


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    async with MailServer() as server:
        yield server


async def see(person: Person, sender: str, body: str, number: int = 0) -> list[Shown]:
    """Return what a room shows once a message (the first, if none is numbered) shows some words."""

    async def is_there() -> bool:
        await person.sync()
        messages = shown(person, sender)
        return len(messages) > number and body in messages[number].body

    await until(is_there)
    return shown(person, sender)


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_a_job_is_one_message_that_follows_it_and_ends_with_a_reply(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer, is_encrypted: bool
) -> None:
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix, disclosures=FULL)
        room = await alice.room_with(bot.id, is_encrypted=is_encrypted)
        async with office.desk.sending():
            job = await office.submit(room)
            await office.plan(job)
            (message,) = await see(alice, bot.id, "sunspots: queued")
            assert job.id in message.body
            assert f"<td>{job.id}</td>" in message.html
            claimed = await stores.claim()
            await see(alice, bot.id, "sunspots: running")
            await office.report(claimed, 0.5, stage="fitting", eta_seconds=30, message="3 of 6")
            (message,) = await see(
                alice, bot.id, "sunspots: running, fitting\n▓▓▓▓▓░░░░░ 50 %, about 30 s left\n3 of 6"
            )
            assert job.id in message.body, "what stands below the changing lines stays"
            assert await stores.finish(claimed, done({"period": 11.0}))
            await office.plan(job)
            await office.desk.wait_for(job, SENT, SENT)
            (message,) = await see(alice, bot.id, "sunspots: done in ")
            await until(lambda: _has_thread(alice, bot.id))
        (message,) = shown(alice, bot.id)
        (reply,) = message.thread
        assert "sunspots finished" in reply
        assert "period: 11" in reply
        assert message.earlier[0].partition("\n")[0] == "sunspots: queued"
        kinds = {each["type"] for each in homeserver.events(room, alice.user.token) if each["sender"] == bot.id}
        assert kinds - {"m.room.member"} == {"m.room.encrypted" if is_encrypted else "m.room.message"}
        await until(lambda: _is_over(stores))
        receipts = [delivery.receipt for delivery in await office.desk.ledger.of_job(job.id)]
        assert receipts[0] == message.event


async def _is_over(stores: Stores) -> bool:
    live = await stores.database.collection(LIVE_MESSAGES).find_one({})
    return live is not None and live["over"] and "expires_at" in live


async def _has_thread(person: Person, sender: str) -> bool:
    await person.sync()
    return bool(shown(person, sender)[0].thread)


@pytest.mark.parametrize("is_recorded", [False, True], ids=["message not recorded", "delivery not recorded"])
async def test_a_notice_whose_sender_died_is_seen_once(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer, is_recorded: bool
) -> None:
    database = stores.database
    async with channel(database, account(homeserver, bot, database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id)
        job = await office.submit(room)
        await office.plan(job)
        async with office.desk.sending():
            (first,) = await office.desk.wait_for(job, SENT)
    await database.collection(DELIVERIES).update_one({}, {"$set": {"status": "planned"}})
    if is_recorded:
        # A new device, of whose transactions the homeserver knows nothing: the record alone guards.
        await database.collection(ACCOUNTS).delete_many({})
    else:
        await database.collection(LIVE_MESSAGES).delete_many({})
    async with channel(database, account(homeserver, bot, database, holder="second")) as matrix:
        office = Office.of(stores, mail_server, matrix)
        async with office.desk.sending():
            (second,) = await office.desk.wait_for(job, SENT)
    assert second.receipt == first.receipt
    await alice.sync()
    (message,) = shown(alice, bot.id)
    assert (message.event, message.thread) == (first.receipt, [])


async def test_with_nothing_said_before_the_end_is_a_message_of_its_own_and_is_left_alone(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix, disclosures=FULL)
        room = await alice.room_with(bot.id)
        async with office.desk.sending():
            job = await office.submit(room, notify=told(room_wish(room, submitted=False)))
            assert await stores.finish(await stores.claim(), failed())
            await office.plan(job)
            (message,) = await see(alice, bot.id, "Your request has failed")
        assert message.earlier == []
        assert "the catalogue did not answer" in message.body
        assert await matrix._lives.open() == []


async def test_another_notifier_goes_on_with_the_same_message(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    database = stores.database
    async with channel(database, account(homeserver, bot, database, holder="first")) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id, is_encrypted=True)
        async with office.desk.sending():
            job = await office.submit(room)
            await office.plan(job)
            await see(alice, bot.id, "sunspots: queued")
    claimed = await stores.claim()
    assert await stores.finish(claimed, done())
    async with channel(database, account(homeserver, bot, database, holder="second")) as matrix:
        office = Office.of(stores, mail_server, matrix)
        async with office.desk.sending():
            await office.plan(job)
            await see(alice, bot.id, "sunspots: done in ")
            await until(lambda: _has_thread(alice, bot.id))
        (message,) = shown(alice, bot.id)
        assert len(message.thread) == 1


async def test_a_job_that_runs_again_has_a_new_message_and_the_old_one_says_how_it_ended(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    database = stores.database
    async with channel(database, account(homeserver, bot, database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id)
        async with office.desk.sending():
            job = await office.submit(room)
            await office.plan(job)
            await see(alice, bot.id, "sunspots: queued")
    assert await stores.finish(await stores.claim(), failed())  # nobody has the account meanwhile
    await stores.jobs.reopen(job.id, "ada")
    async with channel(database, account(homeserver, bot, database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        async with office.desk.sending():
            await office.plan(job)
            await see(alice, bot.id, "sunspots: failed after")
            first, second = await see(alice, bot.id, "sunspots: queued", number=1)
        assert len(first.thread) == 1
        assert second.thread == []


async def test_where_others_might_read_only_that_it_goes_on_is_said(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix, disclosures=FULL)
        room = await alice.room_with(bot.id)
        async with office.desk.sending():
            job = await office.submit(room, notify=told(room_wish(room)) | {"confidential": True})
            await office.plan(job)
            claimed = await stores.claim()
            await office.report(claimed, 0.5, stage="secret stage", message="secret words")
            await see(alice, bot.id, "▓▓▓▓▓░░░░░ 50 %")
            assert await stores.finish(claimed, failed())
            await office.plan(job)
            await see(alice, bot.id, "sunspots: failed after")
            await until(lambda: _has_thread(alice, bot.id))
        words = repr(homeserver.events(room, alice.user.token))
        assert "50 %" in words
        for secret in ("secret", "catalogue did not answer"):
            assert secret not in words


async def test_a_message_in_a_room_that_the_account_had_to_leave_is_given_up(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id)
        async with office.desk.sending():
            job = await office.submit(room)
            await office.plan(job)
            await see(alice, bot.id, "sunspots: queued")
            await alice.client.room_kick(room, bot.id)
            assert await stores.finish(await stores.claim(), done())
            await office.plan(job)
            _, last = await office.desk.wait_for(job, SENT, DeliveryStatus.FAILED)
        assert "invite" in str(last.attempts[-1].reply)

        async def is_given_up() -> bool:
            return await matrix._lives.open() == []

        await until(is_given_up)


async def test_a_room_in_which_nobody_could_read_delays_no_other(
    homeserver: Synapse, bot: User, alice: Person, registered: Callable[[str], User], stores: Stores,
    mail_server: MailServer,
) -> None:  # fmt: skip
    keyless = registered("keyless")
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id)
        asked = {"invite": [bot.id], "initial_state": [ENCRYPTION]}
        made = homeserver.request("POST", "/_matrix/client/v3/createRoom", asked, keyless.token)
        dark = made.raise_for_status().json()["room_id"]
        await until(
            lambda: bot.id in homeserver.get(f"/_matrix/client/v3/rooms/{dark}/joined_members", keyless.token)["joined"]
        )
        job = await office.submit(room)
        unread = LiveMessage(Subject.of_job(job.id), 1, dark, "$event", "", "sunspots", Text("", ""), "queued")
        await matrix._lives.record(unread)
        matrix._editor.watch(unread.watch)
        claimed = await stores.claim()
        async with office.desk.sending():
            await office.plan(job)
            await see(alice, bot.id, "sunspots: running")
            await until(lambda: matrix._editor._free_at.get(dark, 0.0) > time.monotonic() + 3)
            before = time.monotonic()
            assert await stores.finish(claimed, done())
            await see(alice, bot.id, "sunspots: done in ")
        assert time.monotonic() - before < 4.0, "it waited for the room that rests"
        assert dark in [watch.room for watch in await matrix._lives.open()], "nobody was told there yet"


async def test_a_homeserver_that_asks_for_patience_gets_every_notice_and_the_last_edit(
    tmp_path: Path, homeserver: Synapse, stores: Stores, mail_server: MailServer
) -> None:
    strict = Synapse(tmp_path / "strict", {"rc_message": {"per_second": 2, "burst_count": 2}})
    with strict:
        bot = strict.register("bot")
        async with (
            Person(strict, strict.register("alice")) as alice,
            channel(stores.database, account(strict, bot, stores.database)) as matrix,
        ):
            office = Office.of(stores, mail_server, matrix)
            room = await alice.room_with(bot.id)
            async with office.desk.sending():
                jobs = [await office.submit(room, name=f"job {number}") for number in range(2)]
                await office.plan(*jobs)
                for _ in jobs:
                    assert await stores.finish(await stores.claim(), done())
                await office.plan(*jobs)
                for job in jobs:
                    await office.desk.wait_for(job, SENT, SENT)
                for number in range(2):
                    await see(alice, bot.id, ": done in ", number=number)
            assert sorted(len(message.thread) for message in shown(alice, bot.id)) == [1, 1]
            deliveries = [each for job in jobs for each in await office.desk.ledger.of_job(job.id)]
            assert any(attempt.outcome is Outcome.TRY_LATER for each in deliveries for attempt in each.attempts)


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
async def test_messages_of_one_room_are_edited_at_once(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, monkeypatch: pytest.MonkeyPatch, is_encrypted: bool
) -> None:
    speaker = account(homeserver, bot, stores.database)
    async with channel(stores.database, speaker) as matrix:
        room = await alice.room_with(bot.id, is_encrypted=is_encrypted)
        watches = [(await _begin(stores, matrix, speaker, room))[1] for _ in range(3)]
        all_under_way = asyncio.Barrier(len(watches))
        ask = Client.ask

        async def ask_together(self: Client, method: str, path: str, body: Any = None) -> Any:
            if method == "PUT" and "/send/" in path:
                await all_under_way.wait()
            return await ask(self, method, path, body)

        monkeypatch.setattr(Client, "ask", ask_together)
        for watch in watches:
            matrix._editor.watch(watch)
        await until(lambda: _show(alice, bot, "running", 3))


async def test_a_message_is_left_alone_for_a_while_unless_its_work_is_over(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = account(homeserver, bot, stores.database)
    pace = Pace(look_seconds=0.05, edit_seconds=0.5)
    async with channel(stores.database, speaker, pace) as matrix:
        room = await alice.room_with(bot.id)
        job, watch = await _begin(stores, matrix, speaker, room)
        edited_at: list[float] = []
        send = speaker.send

        async def note(room: str, content: Any, txn: str) -> str:
            edited_at.append(matrix._editor._edited_at[watch.id])
            return await send(room, content, txn)

        monkeypatch.setattr(speaker, "send", note)
        matrix._editor.watch(watch)
        for step in itertools.count():
            assert await stores.claims.report(job.id, lease_of(job).token, Progress(step % 100 / 100))
            if len(edited_at) > 2:
                break
            await asyncio.sleep(0.03)
        monkeypatch.setattr(matrix._editor, "_pace", replace(pace, edit_seconds=3600.0))
        assert await stores.finish(job, done())
        await until(lambda: _show(alice, bot, "done", 1))
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(edited_at[:3]))


async def _begin(stores: Stores, matrix: MatrixChannel, speaker: Account, room: str) -> tuple[Job, Watch]:
    """Have a job that runs, and a message in a room that says that it waits."""
    await stores.submit()
    job = await stores.claim()
    event = await speaker.send(room, message(Text.of("queued")), f"begin {job.id}")
    live = LiveMessage(Subject.of_job(job.id), 1, room, event, "", "sunspots", Text("", ""), "queued")
    await matrix._lives.record(live)
    return job, live.watch


async def _show(person: Person, bot: User, words: str, count: int) -> bool:
    await person.sync()
    return sum(words in each.body for each in shown(person, bot.id)) == count


async def test_a_group_has_one_message_with_its_counts(
    homeserver: Synapse, bot: User, alice: Person, stores: Stores, mail_server: MailServer
) -> None:
    async with channel(stores.database, account(homeserver, bot, stores.database)) as matrix:
        office = Office.of(stores, mail_server, matrix)
        room = await alice.room_with(bot.id)
        async with office.desk.sending():
            notify = told(room_wish(room, digest=True))
            jobs = [await office.submit(room, group="survey", notify=notify) for _ in range(4)]
            await office.plan(*jobs)
            await office.desk.teller.sweep()
            await see(alice, bot.id, "survey: at work\nnone over of 4")
            for end in (done(), done(), failed()):
                assert await stores.finish(await stores.claim(), end)
            await office.plan(*jobs)
            await see(alice, bot.id, "2 ok, 1 failed of 4\n▓▓▓▓▓▓▓░░░ 75 %")
            assert await stores.finish(await stores.claim(), done())
            await office.plan(*jobs)

            async def is_told() -> bool:
                await office.desk.teller.sweep()
                return await _has_thread(alice, bot.id)

            await until(is_told)
            (message,) = await see(alice, bot.id, "survey: over in ")
        assert "3 ok, 1 failed of 4" in message.body
        assert len(message.thread) == 1
