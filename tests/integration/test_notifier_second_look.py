"""What waited is looked at once more before it goes out: is it still wanted, and is this the hour?"""

from dataclasses import replace
from datetime import datetime, time, timedelta

import pytest

from heliograph.ids import new_id
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import Delivery, DeliveryStatus
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.preferences import Preferences, PreferenceStore, QuietHours
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, Desk, desk, told, until
from tests.parts.smtp import MailServer


async def planned_before(notifier: Desk, ago: timedelta, **notify: object) -> str:
    """Plan a submission, as if that had been a while ago and nobody had sent it since."""
    stores = notifier.stores
    job = await stores.submit(notify=told() | notify)
    await notifier.plan(job)
    earlier = {
        name: {"$subtract": [f"${name}", int(ago / timedelta(milliseconds=1))]}
        for name in ("created_at", "due_at", "first_due_at")
    }
    await stores.database.collection(DELIVERIES).update_many({}, [{"$set": earlier}])
    return job.id


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


async def _has(notifier: Desk, job: str, status: DeliveryStatus) -> bool:
    return (await only(notifier, job)).status is status


async def _is_later(notifier: Desk, job: str, now: datetime) -> bool:
    delivery = await only(notifier, job)
    return delivery.status is DeliveryStatus.PLANNED and delivery.due_at > now
