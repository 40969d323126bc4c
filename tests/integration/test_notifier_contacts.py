"""People of the contact directory are told, an absent directory delays only who needs it, and both leave a record."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.model import Job
from heliograph.notices import due
from heliograph.notices.model import Delivery, DeliveryStatus
from heliograph_notifier.app import Notifier
from heliograph_notifier.contacts.engines import open_engine
from heliograph_notifier.contacts.file import FileContacts
from heliograph_notifier.contacts.port import Contacts
from heliograph_notifier.contacts.query import PeopleQuery
from heliograph_notifier.contacts.remembered import RememberedContacts
from heliograph_notifier.gathering import Gathering
from heliograph_notifier.settings import NotifierSettings
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, Desk, desk, told
from tests.parts.smtp import MailServer

PLANNED, SUPPRESSED, FAILED = DeliveryStatus.PLANNED, DeliveryStatus.SUPPRESSED, DeliveryStatus.FAILED
STUDY = "study/5901"
ABSENT = ("contacts", STUDY)
PI, OPERATOR = ("email", "pi@example.org"), ("email", "operator@example.org")
OWNER = ("email", ADA)

Planned = dict[tuple[str, str], DeliveryStatus]


@pytest.fixture
def file(tmp_path: Path) -> FileContacts:
    """A directory that names two people for a study."""
    path = tmp_path / "contacts.yaml"
    path.write_text(
        f"subjects:\n  {STUDY}:\n"
        f"  - {{email: {PI[1]}, role: PI}}\n"
        f"  - {{email: {OPERATOR[1]}, role: operator, failed: false}}\n"
    )
    return FileContacts(path)


def make_staff(path: Path) -> None:
    """Make a database that names one of them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE staff (study, mail)")
        connection.execute("INSERT INTO staff VALUES (?, ?)", (STUDY, PI[1]))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[tuple[RememberedContacts, Callable[[], None]]]:
    """A directory in a database that is missing, and what makes it."""
    path = tmp_path / "lims.db"
    query = PeopleQuery(open_engine(f"sqlite:///{path}"), "SELECT mail AS email FROM staff WHERE study = :subject")
    contacts = RememberedContacts(query, seconds=300, rest=0)

    yield contacts, partial(make_staff, path)
    await contacts.close()


def asking(subject: str = STUDY, *roles: str) -> dict[str, Any]:
    """What a job keeps that has the people of a subject told besides its owner."""
    return {**told(), "contacts": [{"subject": subject, "roles": list(roles)}]}


def using(notifier: Desk, contacts: Contacts | None, patience: timedelta = timedelta(minutes=10)) -> None:
    """Give a planner a contact directory."""
    notifier.planner._gathering = Gathering(notifier.stores.database, {}, (), contacts, patience=patience)


async def look_again(stores: Stores) -> None:
    """Let what waits be due to be looked at."""
    past = {"$map": {"input": "$notices_due", "in": {"seq": "$$this.seq", "at": {"$subtract": ["$$NOW", 60_000]}}}}
    await stores.collection.update_many({}, [{"$set": {"notices_due": past}}])


async def planned(notifier: Desk, job: Job) -> Planned:
    return by_place(await notifier.ledger.of_job(job.id))


def by_place(deliveries: list[Delivery]) -> Planned:
    return {(each.channel, each.recipient): each.status for each in deliveries}


async def test_people_whom_the_directory_names_are_told(
    stores: Stores, mail_server: MailServer, file: FileContacts
) -> None:
    async with desk(stores, mail_server) as notifier:
        using(notifier, file)
        everybody = await notifier.plan(await stores.submit(notify=asking()))
        assert by_place(everybody) == {OWNER: PLANNED, PI: PLANNED, OPERATOR: PLANNED}
        chosen = await notifier.plan(await stores.submit(notify=asking(STUDY, "pi")))
        assert by_place(chosen) == {OWNER: PLANNED, PI: PLANNED}


async def test_what_the_directory_says_they_wish_holds(
    stores: Stores, mail_server: MailServer, file: FileContacts
) -> None:
    async with desk(stores, mail_server) as notifier:
        using(notifier, file)
        job = await stores.submit(notify=asking())
        await notifier.plan(job)
        await stores.jobs.cancel(job.id, "somebody")
        await notifier.plan(job)
        cancelled = [each for each in await notifier.ledger.of_job(job.id) if each.occasion == "cancelled"]
    assert by_place(cancelled) == {OWNER: PLANNED, PI: PLANNED, OPERATOR: SUPPRESSED}


@pytest.mark.parametrize(
    ("subject", "roles", "reason"),
    [
        ("study/1", (), "no-contacts: the directory names nobody for study/1"),
        (
            STUDY,
            ("director", "dean"),
            f"no-contacts: the directory names nobody for {STUDY} in the role director or dean",
        ),
    ],
)
async def test_where_it_names_nobody_that_is_recorded(
    stores: Stores, mail_server: MailServer, file: FileContacts, subject: str, roles: tuple[str, ...], reason: str
) -> None:
    async with desk(stores, mail_server) as notifier:
        using(notifier, file)
        deliveries = await notifier.plan(await stores.submit(notify=asking(subject, *roles)))
    assert by_place(deliveries) == {OWNER: PLANNED, ("contacts", subject): SUPPRESSED}
    assert [each.reason for each in deliveries if each.channel == "contacts"] == [reason]


async def test_without_a_directory_that_is_recorded(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        deliveries = await notifier.plan(await stores.submit(notify=asking()))
    assert by_place(deliveries) == {OWNER: PLANNED, ABSENT: SUPPRESSED}
    assert "no-contacts: no contact directory is configured" in {each.reason for each in deliveries}


async def test_a_directory_that_is_away_delays_only_who_needs_it(
    stores: Stores, mail_server: MailServer, database: tuple[RememberedContacts, Callable[[], None]]
) -> None:
    contacts, make = database
    async with desk(stores, mail_server) as notifier:
        using(notifier, contacts)
        waiting, other = await stores.submit(notify=asking()), await stores.submit(notify=told())
        await look_again(stores)
        await notifier.planner.sweep()
        assert await planned(notifier, waiting) == {}
        assert await planned(notifier, other) == {OWNER: PLANNED}
        make()
        await notifier.planner.sweep()
        assert await planned(notifier, waiting) == {}  # it was looked at a moment ago
        await look_again(stores)
        await notifier.planner.sweep()
        assert await planned(notifier, waiting) == {OWNER: PLANNED, PI: PLANNED}
        assert (await stores.stored(waiting))["notices_due"] == []


async def test_an_event_of_a_job_that_has_to_wait_counts_as_taken(
    stores: Stores, mail_server: MailServer, database: tuple[RememberedContacts, Callable[[], None]]
) -> None:
    async with desk(stores, mail_server) as notifier:
        using(notifier, database[0])
        job = await stores.submit(notify=asking())
        (event,) = await notifier.events(job)
        await notifier.planner.handle(event)
        assert [each["seq"] for each in (await stores.stored(job))["notices_due"]] == [1]


async def test_those_who_wait_do_not_hide_the_others(
    stores: Stores, mail_server: MailServer, database: tuple[RememberedContacts, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(due, "SWEEP_BATCH", 2)
    async with desk(stores, mail_server) as notifier:
        using(notifier, database[0])
        for _ in range(2):
            await stores.submit(notify=asking())
        await look_again(stores)
        other = await stores.submit(notify=told())
        await stores.collection.update_one({"_id": other.id}, [
            {"$set": {"notices_due": [{"seq": 1, "at": {"$subtract": ["$$NOW", 30_000]}}]}},
        ])  # fmt: skip
        await notifier.planner.sweep()
        await notifier.planner.sweep()
        assert await planned(notifier, other) == {OWNER: PLANNED}


async def test_after_long_the_others_are_told_and_the_failure_is_recorded(
    stores: Stores, mail_server: MailServer, database: tuple[RememberedContacts, Callable[[], None]]
) -> None:
    async with desk(stores, mail_server) as notifier:
        using(notifier, database[0], timedelta())
        deliveries = await notifier.plan(await stores.submit(notify=asking()))
    assert by_place(deliveries) == {OWNER: PLANNED, ABSENT: FAILED}
    (reason,) = [each.reason for each in deliveries if each.status is FAILED]
    assert reason.startswith("contacts-unavailable: the contact database cannot be asked (OperationalError SQLITE_CANT")


async def test_a_notifier_that_comes_late_gives_the_directory_its_time(
    stores: Stores, mail_server: MailServer, database: tuple[RememberedContacts, Callable[[], None]]
) -> None:
    """A job may have waited for the notifier itself, as after a start of the whole machine."""
    hour = {"$map": {"input": "$history", "in": {"$mergeObjects": ["$$this", {"at": {
        "$subtract": ["$$this.at", 3_600_000]}}]}}}  # fmt: skip
    async with desk(stores, mail_server) as notifier:
        using(notifier, database[0])
        job = await stores.submit(notify=asking())
        await stores.collection.update_one({"_id": job.id}, [{"$set": {"history": hour}}])
        assert await notifier.plan(job) == []
        database[1]()
        assert by_place(await notifier.plan(job)) == {OWNER: PLANNED, PI: PLANNED}


async def test_a_notifier_uses_the_directory_that_its_settings_name(
    stores: Stores, mail_server: MailServer, mongodb_url: str, database_name: str, tmp_path: Path
) -> None:
    sqlite = tmp_path / "lims.db"
    make_staff(sqlite)
    settings = NotifierSettings(
        mongodb_url=mongodb_url, mongodb_database=database_name, bus_url="memory://", smtp_url=mail_server.url,
        mail_from="heliograph@example.org", metrics_port=None, contacts_url=f"sqlite:///{sqlite}",
        contacts_query="SELECT mail AS email FROM staff WHERE study = :subject",
    )  # fmt: skip
    await stores.submit(notify=asking())
    await look_again(stores)
    async with MemoryBus() as bus, Notifier(settings, bus=bus):
        await mail_server.wait_for_mails(2)
    assert sorted(mail_server.recipients) == [ADA, PI[1]]
