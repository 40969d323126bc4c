"""Reports and tests are planned once, by whichever notifier comes first."""

import asyncio

from structlog.testing import capture_logs

from heliograph.ids import new_id
from heliograph.notices.bulletins import Bulletin, BulletinStore, ensure_bulletin_indexes
from heliograph.notices.model import DeliveryStatus, SubjectKind, Wish
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, desk
from tests.parts.smtp import MailServer

OPERATORS = (Wish("email", "ops@example.org"), Wish("email", "night@example.org"))


async def report(stores: Stores) -> Bulletin:
    return await bulletin(stores, SubjectKind.INCIDENT)


async def bulletin(stores: Stores, kind: SubjectKind, *wishes: Wish) -> Bulletin:
    await ensure_bulletin_indexes(stores.database)
    stored = Bulletin(new_id(), kind, "ada", await stores.database.now(), "the plot is empty", wishes=wishes)
    await BulletinStore(stores.database).add(stored)
    return stored


async def test_a_report_reaches_each_operator_once_whoever_plans_it(stores: Stores, mail_server: MailServer) -> None:
    async with (
        desk(stores, mail_server, incidents=OPERATORS) as one,
        desk(stores, mail_server, incidents=OPERATORS) as other,
        one.sending(),
        other.sending(),
    ):
        stored = await report(stores)
        await asyncio.gather(*(each.planner.sweep() for each in (one, other, one, other)))
        mails = await mail_server.wait_for_mails(2)
        assert sorted(mail_server.recipients) == ["night@example.org", "ops@example.org"]
        assert len(await one.ledger.of_subject(stored.subject)) == 2
    for mail in mails:
        body = mail.get_body(("plain",))
        assert body is not None
        assert "the plot is empty" in body.get_content()
    assert await BulletinStore(stores.database).unplanned() == []
    assert (await BulletinStore(stores.database).get(stored.id)).planned_at


async def test_a_report_that_reaches_nobody_is_said_in_the_log_once(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        stored = await report(stores)
        with capture_logs() as logs:
            await notifier.planner.sweep()
            await notifier.planner.sweep()
        assert await notifier.ledger.of_subject(stored.subject) == []
    assert [(each["log_level"], each["report"]) for each in logs] == [("warning", stored.id)]


async def test_a_test_is_sent_or_says_why_not(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        stored = await bulletin(stores, SubjectKind.TEST, Wish("email", ADA))
        nowhere = await bulletin(stores, SubjectKind.TEST)
        await notifier.planner.sweep()
        (mail,) = await mail_server.wait_for_mails(1)
        assert mail["To"] == ADA
        assert [each.reason for each in await notifier.ledger.of_subject(stored.subject)] == [
            "test: asked for by ada"
        ]  # fmt: skip
        (kept_back,) = await notifier.ledger.of_subject(nowhere.subject)
        assert (kept_back.status, kept_back.recipient) == (DeliveryStatus.SUPPRESSED, "")
        assert kept_back.reason.startswith("no-recipient: ")


async def test_a_test_finds_the_mute_that_keeps_everything_from_its_asker(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        mute = Mute(new_id(), MuteScope.ALL, "the api", await stores.database.now(), person="ada")
        await MuteStore(stores.database).add(mute)
        stored = await bulletin(stores, SubjectKind.TEST, Wish("email", ADA))
        await notifier.planner.sweep()
        (kept_back,) = await notifier.ledger.of_subject(stored.subject)
        assert kept_back.reason.startswith("muted: ")
