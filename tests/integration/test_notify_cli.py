"""The commands about notices: what people read, and how a script learns that something did not arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from heliograph.client import notify_cli
from heliograph.client.cli import app
from heliograph.ids import new_id, short_id
from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject
from heliograph.notices.preferences import PreferenceStore
from heliograph.notices.store import Ledger
from heliograph.notices.watches import WatchStore
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings
from tests.parts.api import ADA, Api, open_api
from tests.parts.smtp import Behaviour, MailServer
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def run(api: Api, *words: str, code: int = 0, role: str = "user", token: str | None = None) -> str:
    """Run ``heliograph`` as Ada, check how it ends, and return what it printed."""
    token = token or api.client(ADA, role).headers["authorization"].removeprefix("Bearer ")
    around = {"HELIOGRAPH_URL": api.url, "HELIOGRAPH_TOKEN": token, "COLUMNS": "120"}
    result = await asyncio.to_thread(CliRunner().invoke, app, words, env=around)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@asynccontextmanager
async def notifier(api: Api, server: MailServer, **fields: Any) -> AsyncIterator[None]:
    """Run a notifier that mails, and that tries again after what a server puts off until later than any test."""
    settings = NotifierSettings(
        mongodb_url="mongodb://unused", bus_url="memory://", smtp_url=server.url, mail_from="heliograph@example.org",
        metrics_port=None, **fields,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notify_cli, "ANSWER_SECONDS", 60.0)
        async with Notifier(settings, database=api.database, bus=api.bus):
            yield


async def test_a_test_says_what_the_server_said(api: Api) -> None:
    async with MailServer() as server, notifier(api, server):
        output = await run(api, "notify", "test")
        (mail,) = server.mails
        server.behaviour = Behaviour.REFUSE
        refused = await run(api, "notify", "test", "--channel", "email", code=1)
        nowhere = await run(api, "notify", "test", "--channel", "apprise", "--recipient", "x", code=1, role="operator")
    assert mail["To"] == ADA
    row = next(line for line in output.splitlines() if ADA in line).split(maxsplit=3)
    assert row[:3] == ["email", ADA, "sent"]
    assert "2.0.0 queued as 1" in row[3]
    assert "550 5.1.1 no such mailbox" in refused
    assert "no-channel: apprise is not set up here" in nowhere
    assert "nothing was sent" in nowhere
    assert ADA not in nowhere


async def test_a_test_that_is_put_off_is_not_waited_for_without_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    deliveries = api.database.collection(DELIVERIES)
    put_off = {"status": DeliveryStatus.PLANNED.value, "attempts.0": {"$exists": True}}
    monkeypatch.setattr(notify_cli, "SETTLE_SECONDS", 100.0)
    async with MailServer() as server, notifier(api, server):
        server.behaviour = Behaviour.PUT_OFF
        asking = asyncio.create_task(run(api, "notify", "test", code=1))
        await until(lambda: deliveries.count_documents(put_off))
        monkeypatch.setattr(notify_cli, "SETTLE_SECONDS", 0.0)
        output = await asking
    assert "planned, due 2" in output
    assert "451 4.7.1 greylisted" in output


async def test_a_named_recipient_who_is_not_reached_fails_it(api: Api) -> None:
    claims = {"mxroomid": "!dome:example.org"}
    token = api.client(ADA, **claims).headers["authorization"].removeprefix("Bearer ")
    async with MailServer() as server, notifier(api, server):
        output = await run(api, "notify", "test", code=1, token=token)
    assert "no-channel: matrix is not set up here" in output
    assert "sent" in output


async def test_what_waits_says_until_when(api: Api) -> None:
    job = await api.submit()
    due = datetime(2090, 1, 31, 7, 30, tzinfo=UTC)
    waiting = Delivery(
        new_id(), Subject.of_job(job["id"]), Occasion.SUBMITTED, 1, 1, "email", ADA, DeliveryStatus.PLANNED,
        "submitted-wished: on, waits for the end of quiet time", due, due,
    )  # fmt: skip
    await Ledger(api.database).insert([waiting])
    assert "planned, due 2090-01-31 07:30 UTC" in await run(api, "notices", job["id"])
    await run(api, "resend", waiting.id, code=1, role="admin")
    await api.database.collection(DELIVERIES).delete_one({"_id": waiting.id})


@pytest.mark.parametrize(
    ("recipients", "words"),
    [("", "nobody is set to be told (HELIOGRAPH_INCIDENTS_TO)"), ("email:ops@example.org", "the operators are told"),
     ("matrix:!ops:example.org", "nobody is set to be told")],
)  # fmt: skip
async def test_a_report_says_whether_the_operators_are_told(api: Api, recipients: str, words: str) -> None:
    async with MailServer() as server, notifier(api, server, incidents_to=recipients):
        async with asyncio.timeout(60):
            while await AnnouncedChannels(api.database).tells_incidents() is None:  # noqa: ASYNC110 - a notifier writes it
                await asyncio.sleep(0.02)
        assert words in await run(api, "incident", "no stars")
        assert await AnnouncedChannels(api.database).channels() == {"email": None}
    await api.database.collection("notice_channels").delete_many({})


async def test_without_a_recipient_it_says_so(api: Api) -> None:
    token = api.client("just-a-name").headers["authorization"].removeprefix("Bearer ")
    async with MailServer() as server, notifier(api, server):
        output = await run(api, "notify", "test", code=1, token=token)
    assert "no-recipient: the token and the preferences name none" in output


async def test_a_test_that_nobody_takes_up_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_cli, "ANSWER_SECONDS", 0.2)
    output = await run(api, "notify", "test", code=1)
    assert "no notifier has answered within 0.2 s" in output
    for each in await BulletinStore(api.database).unplanned():
        await BulletinStore(api.database).settle(each.id)


async def test_preferences_are_set_by_name_and_shown(api: Api) -> None:
    await api.database.collection("notice_channels").delete_many({})
    output = await run(
        api, "notify", "set", "email.failed=false", "email.threshold_seconds=600", "time_zone=Europe/Zurich",
        "quiet_hours=22:00-07:00", "working_days=monday,friday", "urgent=failed",
    )  # fmt: skip
    rows = {tuple(line.split()) for line in output.splitlines()}
    assert {("quiet_hours", "22:00-07:00"), ("working_days", "monday,friday"), ("email.failed", "false")} <= rows
    assert ("email", "recipient", ADA) in rows
    assert {("email", "failed", "false"), ("email", "done", "the", "platform's", "default")} <= rows
    assert await run(api, "notify", "show") == output
    await run(api, "notify", "set", "email=", "quiet_hours=", "working_days=")
    kept = await PreferenceStore(api.database).get(ADA)
    assert (kept.wishes, kept.quiet_hours, kept.working_days, kept.time_zone) == ({}, None, None, "Europe/Zurich")


async def test_what_is_left_to_the_platform_is_shown_and_a_channel_that_is_not_there(api: Api) -> None:
    await api.database.collection("notice_channels").delete_many({})
    async with MailServer() as server, notifier(api, server, email_sending_timeout_default_threshold=600):
        await until(AnnouncedChannels(api.database).channels)
        output = await run(api, "notify", "show")
        asked = await run(api, "notify", "set", "matrix.room=!abc:example.org", role="admin")
    await api.database.collection("notice_channels").delete_many({})
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert "email threshold_seconds 600 (the platform's default)" in rows
    assert "email done_after_threshold true (the platform's default)" in rows
    assert "not set up" not in output
    assert "heliograph: nothing is sent over matrix here: it is not set up" in asked
    assert "not set up" not in await run(api, "notify", "set", "matrix.submitted=false")  # no notifier says so
    await run(api, "notify", "set", "matrix=")


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [("email.failed", 2, "KEY=VALUE"), ("quiet_hours=22", 2, "22:00-07:00"), ("quiet_hours=22-7", 2, "22:00-07:00"),
     ("foo=1", 1, "there are: email, matrix"), ("time_zone=Mars", 1, "time_zone"),
     ("email.failed=maybe", 1, "email.failed"),
     ("email.recipient=bob@example.org", 1, "your token names another")],
)  # fmt: skip
async def test_a_setting_that_makes_no_sense_is_named(api: Api, setting: str, code: int, words: str) -> None:
    assert words in " ".join((await run(api, "notify", "set", setting, code=code)).split())


async def test_mutes_and_watches_come_and_go(api: Api) -> None:
    output = await run(api, "notify", "mute", "--group", "night", "--hours", "12", "--channel", "email")
    identifier = output.split()[-1]
    assert "night" in await run(api, "notify", "mutes")
    await run(api, "notify", "unmute", identifier)
    assert identifier not in await run(api, "notify", "mutes")
    await run(api, "notify", "unmute", identifier, code=1)
    words = ("email.submitted=false", "email.threshold_seconds=60", "--group", "night")
    identifier = (await run(api, "notify", "watch", *words)).split()[-1]
    assert identifier in await run(api, "notify", "watches")
    (watch,) = await WatchStore(api.database).of_person(ADA)
    assert [(each.submitted, each.threshold_seconds) for each in watch.asked] == [(False, 60)]
    await run(api, "notify", "unwatch", identifier)
    await run(api, "notify", "watch", "--backend", "sum", code=1)


async def test_a_matrix_user_is_linked_with_what_is_printed(api: Api) -> None:
    assert "Matrix is not set up here" in await run(api, "notify", "link", "@ada:example.org", code=1)
    channels = {"email": None, "matrix": "@bot:example.org"}
    await AnnouncedChannels(api.database).announce(channels, incidents=0)
    output = await run(api, "notify", "link", "@ada:example.org")
    assert "invite @bot:example.org" in output
    assert await run(api, "notify", "link") == "no Matrix user is linked to you\n"  # before it has said the code
    code = output.splitlines()[0].removeprefix("link ")
    linked = LinkedUsers(api.database)
    assert await linked.redeem("@ada:example.org", code) == ADA
    standing = await run(api, "notify", "link")
    assert "@ada:example.org is linked to you since 2" in standing
    assert "no room is proven" in standing
    await linked.prove_room(ADA, "!dome:example.org")
    assert "!dome:example.org is proven to be yours" in await run(api, "notify", "link")
    await run(api, "notify", "set", "matrix.room=!dome:example.org")
    await run(api, "notify", "unlink")
    assert await run(api, "notify", "link") == "no Matrix user is linked to you\n"
    assert "!dome" not in await run(api, "notify", "show")
    await run(api, "notify", "unlink", code=1)
    await api.database.collection("notice_channels").delete_many({})


async def test_a_problem_is_reported_and_its_notice_found_and_sent_again(api: Api) -> None:
    job = await api.submit()
    kept = await run(api, "incident", "The dome is open.", "--job", short_id(job["id"]))
    identifier = kept.removeprefix("kept as ").partition(";")[0]
    assert "no notifier runs" in kept
    assert "nobody is told so far" in await run(api, "incidents", identifier)
    incident = await BulletinStore(api.database).get(identifier)
    assert incident.job == job["id"]
    now = datetime.now(UTC) - timedelta(minutes=1)
    failed = Delivery(
        new_id(), incident.subject, Occasion.INCIDENT, 1, 1, "email", "ops@example.org", DeliveryStatus.FAILED,
        "incident: reports go to the operators", now, now
    )  # fmt: skip
    await Ledger(api.database).insert([failed])
    tried = {"at": now, "outcome": "refused", "reply": "550 5.2.2 the mailbox is full"}
    await api.database.collection(DELIVERIES).update_one({"_id": failed.id}, {"$set": {"attempts": [tried]}})
    seen = await run(api, "incidents", identifier)
    assert seen.startswith("The dome is open.")
    assert {"email", "operators", "failed"} <= set(seen.split())
    assert "ops@example.org" not in seen
    assert "ops@example.org" in await run(api, "incidents", identifier, role="job manager")
    assert identifier in await run(api, "incidents", role="job manager")
    assert identifier in await run(api, "incidents")
    bob = api.bob.headers["authorization"].removeprefix("Bearer ")
    assert identifier not in await run(api, "incidents", token=bob)  # everybody's are for some
    assert await run(api, "incidents", short_id(identifier)) == seen
    listed = await run(api, "notices", "--status", "failed", role="job manager")
    assert failed.id in listed
    assert "550 5.2.2 the mailbox is full" in listed
    assert failed.id not in await run(api, "notices", "--status", "sent", role="job manager")
    await run(api, "notices", code=1)  # everybody's are for some
    assert await run(api, "notices", short_id(job["id"]))
    assert "copy 1 goes to ops@example.org over email" in await run(api, "resend", failed.id, role="admin")
    await run(api, "resend", failed.id, code=1)
