"""What waited is looked at once more before it goes out: is it still wanted, and is this the hour?"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial

import pytest

from heliograph.ids import new_id
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import Delivery, DeliveryStatus
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.preferences import PREFERENCES, Preferences, PreferenceStore, QuietHours
from heliograph_notifier import second_look
from heliograph_notifier.second_look import SecondLook, Silenced
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, Desk, desk, told, until, wish
from tests.parts.smtp import MailServer


async def planned_before(notifier: Desk, ago: timedelta, **notify: object) -> str:
    """Plan a submission, as if that had been a while ago and nobody had sent it since."""
    stores = notifier.stores
    job = await stores.submit(notify=told() | notify)
    await notifier.plan(job)
    await _make_older(notifier, ago)
    return job.id


async def _make_older(notifier: Desk, ago: timedelta) -> None:
    earlier = {
        name: {"$subtract": [f"${name}", int(ago / timedelta(milliseconds=1))]}
        for name in ("created_at", "due_at", "first_due_at")
    }
    await notifier.stores.database.collection(DELIVERIES).update_many({}, [{"$set": earlier}])


async def backlog(notifier: Desk, *recipients: str, group: str | None = None) -> dict[str, str]:
    """Plan a submission for each recipient, as if that had been an hour ago; return their jobs."""
    jobs = {}
    for recipient in recipients:
        job = await notifier.stores.submit(
            owner=f"owner of {recipient}", group=group, notify=told(wish(recipient, digest=False))
        )
        await notifier.plan(job)
        jobs[recipient] = job.id
    await _make_older(notifier, timedelta(hours=1))
    return jobs


async def only(notifier: Desk, job: str) -> Delivery:
    (delivery,) = await notifier.ledger.of_job(job)
    return delivery


async def test_who_unsubscribed_while_the_channel_was_away_gets_nothing(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned_before(notifier, timedelta(hours=1))
        now = await stores.database.now()
        mute = Mute(new_id(), MuteScope.ALL, "an unsubscribe link", now, channel="email", recipient=ADA)
        await MuteStore(stores.database).add(mute)
        async with notifier.sending():
            await until(lambda: _has(notifier, job, DeliveryStatus.SUPPRESSED))
        assert (await only(notifier, job)).reason.startswith("muted: ")
    assert mail_server.attempts == 0


def around(now: datetime) -> QuietHours:
    begin, end = now - timedelta(minutes=30), now + timedelta(hours=2)
    return QuietHours(time(begin.hour, begin.minute), time(end.hour, end.minute))


@pytest.mark.parametrize("urgent", [False, True])
async def test_what_was_held_up_until_the_night_waits_for_the_morning_unless_it_is_urgent(
    stores: Stores, mail_server: MailServer, *, urgent: bool
) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned_before(notifier, timedelta(hours=1), urgent=urgent)
        now = await stores.database.now()
        owner = (await stores.jobs.get(job)).owner

        def at_night(known: Preferences) -> Preferences:
            return replace(known, quiet_hours=around(now), time_zone="UTC")

        await PreferenceStore(stores.database).change(owner, at_night)
        async with notifier.sending():
            if urgent:
                await mail_server.wait_for_mails(1)
                return
            await until(lambda: _is_later(notifier, job, now))
        delivery = await only(notifier, job)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.PLANNED, ())
    assert timedelta(hours=1, minutes=55) < delivery.due_at - now <= timedelta(hours=2)
    assert mail_server.attempts == 0


async def test_a_backlog_is_looked_at_together_and_each_by_its_own_rules(
    stores: Stores, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [f"other-{number}@example.org" for number in range(20)]
    looks: list[int] = []

    async def touching(self: MuteStore, people: Iterable[str], places: Iterable[tuple[str, str]]) -> list[Mute]:
        places = list(places)
        looks.append(len(places))
        return await read(self, people, places)

    async with desk(stores, mail_server) as notifier:
        jobs = await backlog(notifier, "muted@example.org", "asleep@example.org", *others)
        now = await stores.database.now()
        await MuteStore(stores.database).add(
            Mute(new_id(), MuteScope.ALL, "an unsubscribe link", now, channel="email", recipient="muted@example.org")
        )
        await PreferenceStore(stores.database).change(
            "owner of asleep@example.org", lambda known: replace(known, quiet_hours=around(now), time_zone="UTC")
        )
        read = MuteStore.touching
        monkeypatch.setattr(MuteStore, "touching", touching)
        async with notifier.sending():
            await mail_server.wait_for_mails(len(others))
            await until(lambda: _has(notifier, jobs["muted@example.org"], DeliveryStatus.SUPPRESSED))
            await until(lambda: _is_later(notifier, jobs["asleep@example.org"], now))
    assert sorted(mail_server.recipients) == sorted(others)
    assert len(looks) < len(jobs) / 2


async def test_a_muted_group_is_known_by_its_jobs_in_a_backlog(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        muted = await backlog(notifier, "ada@example.org", "grace@example.org", group="survey")
        heard = await backlog(notifier, "mary@example.org", "vera@example.org")
        now = await stores.database.now()
        for recipient in (*muted, *heard):
            owner = f"owner of {recipient}"
            mute = Mute(new_id(), MuteScope.GROUP, "the api", now, of="survey", owner=owner, person=owner)
            await MuteStore(stores.database).add(mute)
        async with notifier.sending():
            await mail_server.wait_for_mails(len(heard))
            for job in muted.values():
                await until(partial(_has, notifier, job, DeliveryStatus.SUPPRESSED))
        assert all([(await only(notifier, job)).reason.startswith("muted: ") for job in muted.values()])
    assert sorted(mail_server.recipients) == sorted(heard)


async def test_preferences_that_cannot_be_read_hold_up_nobody_else(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await backlog(notifier, *(f"reader-{number}@example.org" for number in range(6)))
        await stores.database.collection(PREFERENCES).insert_one(
            {"_id": "owner of reader-3@example.org", "quiet_hours": ["late", "early"]}
        )
        async with notifier.sending():
            await mail_server.wait_for_mails(5)
            await until(lambda: _was_tried(notifier, jobs["reader-3@example.org"]))
        broken = await only(notifier, jobs["reader-3@example.org"])
    assert "reader-3@example.org" not in mail_server.recipients
    assert {attempt.reply for attempt in broken.attempts} == {"ValueError in the notifier"}


async def test_what_was_seen_long_ago_is_looked_at_again(
    stores: Stores, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(stores, mail_server) as notifier:
        await backlog(notifier, ADA)
        (leased,) = await notifier.ledger.lease("email")
        look = SecondLook(stores.database)
        seen = await look.see([leased])
        now = await stores.database.now()
        await MuteStore(stores.database).add(
            Mute(new_id(), MuteScope.ALL, "an unsubscribe link", now, channel="email", recipient=ADA)
        )
        monkeypatch.setattr(second_look, "FRESH_SECONDS", 3600.0)
        assert await look.look(leased, seen) is None  # as it was then
        monkeypatch.setattr(second_look, "FRESH_SECONDS", 0.0)
        assert isinstance(await look.look(leased, seen), Silenced)


async def _was_tried(notifier: Desk, job: str) -> bool:
    return bool((await only(notifier, job)).attempts)


async def _has(notifier: Desk, job: str, status: DeliveryStatus) -> bool:
    return (await only(notifier, job)).status is status


async def _is_later(notifier: Desk, job: str, now: datetime) -> bool:
    delivery = await only(notifier, job)
    return delivery.status is DeliveryStatus.PLANNED and delivery.due_at > now
