"""A contact directory in a database: the same promises on SQLite and on MariaDB, and what an outage means."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest
from heliograph_notifier.contacts import engines
from heliograph_notifier.contacts.engines import open_engine
from heliograph_notifier.contacts.port import Contact, ContactsUnavailableError
from heliograph_notifier.contacts.query import PeopleQuery
from heliograph_notifier.contacts.remembered import RememberedContacts
from tests.conftest import need
from tests.parts.mariadb import PASSWORD, MariaDB, mariadb_available

STAFF = (  # with what databases have: numbers for yes and no, decimals, blanks at the end
    "DROP TABLE IF EXISTS staff",
    "CREATE TABLE staff (study VARCHAR(60), mail VARCHAR(90), role VARCHAR(40), failed BOOL, threshold DECIMAL(8,1))",
    "INSERT INTO staff VALUES ('study/5901', 'ada@example.org', 'PI', 1, 0)",
    "INSERT INTO staff VALUES ('study/5901', 'grace@example.org ', 'Operator', 0, NULL)",
    "INSERT INTO staff VALUES ('study/5902', 'joan@example.org', NULL, NULL, NULL)",
)
QUERY = "SELECT mail AS recipient, role, failed, threshold AS threshold_seconds FROM staff WHERE study = :subject"
ADA = Wish("email", "ada@example.org", failed=True, threshold_seconds=0.0)
GRACE = Wish("email", "grace@example.org", failed=False)
SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT 'x' AS recipient FROM n WHERE :subject = i",
    "mariadb": "SELECT :subject AS recipient, sleep(60) AS role",
}

Run = Callable[..., object]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A MariaDB of this test process."""
    need("MariaDB", mariadb_available())
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as started:
        yield started


@pytest.fixture
def mariadb(server: MariaDB) -> MariaDB:
    """A running MariaDB that knows the staff."""
    server.start()
    server.run(*STAFF)
    return server


@pytest.fixture(params=["sqlite", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    name: str = request.param
    return name


@pytest.fixture
def lims(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Run]:
    """The URL of a database that knows the staff, and what runs statements there."""
    if kind == "mariadb":
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        return mariadb.url, mariadb.run

    def run(*statements: str) -> None:
        with closing(sqlite3.connect(tmp_path / "li ms.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    run(*STAFF)
    return f"sqlite:///{tmp_path / 'li ms.db'}", run


class Clock:
    """A clock that stands still unless it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def directory() -> AsyncIterator[Callable[..., RememberedContacts]]:
    """Opens directories, and closes them in the end."""
    opened: list[RememberedContacts] = []

    def open_directory(url: str, query: str = QUERY, *, clock: Callable[[], float] = time.monotonic, rest: float = 0.0,
                       patience: float = 60.0) -> RememberedContacts:  # fmt: skip
        source = PeopleQuery(open_engine(url), query)
        contacts = RememberedContacts(source, seconds=300, abreast=2, clock=clock, rest=rest, patience=patience)
        opened.append(contacts)
        return contacts

    yield open_directory
    for contacts in opened:
        await contacts.close()


Directory = Callable[..., RememberedContacts]


async def find(contacts: RememberedContacts, subject: str = "study/5901", *roles: str) -> Sequence[Wish]:
    return list(await contacts.find(ContactRequest(subject, roles)))


async def test_people_are_found_by_subject_and_role(lims: tuple[str, Run], directory: Directory) -> None:
    contacts = directory(lims[0])
    assert await find(contacts) == [ADA, GRACE]
    assert await find(contacts, "study/5901", "operator", "reviewer") == [GRACE]
    assert await find(contacts, "study/5902") == [Wish("email", "joan@example.org")]
    assert await find(contacts, "study/5902", "PI") == []
    assert await find(contacts, "' OR 1=1; --") == []


async def test_every_field_may_be_a_column(lims: tuple[str, Run], directory: Directory) -> None:
    columns = (
        "'Ada' AS name, 'ada' AS LOGIN, '' AS role, 'a@b.c' AS email, '!room:b.c' AS matrix, 'ntfy' AS channel, "
        "'dome' AS recipient, 1 AS submitted, 0 AS running, 1 AS done, 0 AS digest, 60 AS interval_seconds"
    )
    contacts = directory(lims[0], f"SELECT {columns} FROM staff WHERE study = :subject AND role = 'PI'")
    stated: dict[str, Any] = {
        "submitted": True,
        "running": False,
        "done": True,
        "digest": False,
        "interval_seconds": 60.0,
    }
    assert await find(contacts) == [
        Wish(channel, recipient, person="ada", **stated)
        for channel, recipient in (("email", "a@b.c"), ("matrix", "!room:b.c"), ("ntfy", "dome"))
    ]


async def test_rows_that_make_no_sense_are_left_out_and_told(lims: tuple[str, Run], directory: Directory) -> None:
    url, run = lims
    run(
        "INSERT INTO staff VALUES ('study/5901', 'ada', 'PI', 1, 0), ('study/5901', NULL, 'PI', 1, 0), "
        "('study/5901', 'x@example.org', 'PI', 5, -1)"
    )
    contacts = directory(url, QUERY.replace("role,", "role, 'north' AS wing,"))
    with capture_logs() as logs:
        assert await find(contacts) == [ADA, GRACE]
    unknown, *rows = logs
    assert unknown["columns"] == ["wing"]
    assert [entry["row"] for entry in rows] == [3, 4, 5]
    assert rows[0]["wrong"] == ["the row: this is no recipient on the channel email"]
    assert rows[1]["wrong"][0].startswith("the row: it has neither email nor matrix nor recipient")
    assert [wrong.partition(":")[0] for wrong in rows[2]["wrong"]] == ["threshold_seconds", "failed"]


async def test_what_is_found_is_remembered_for_a_while(lims: tuple[str, Run], directory: Directory) -> None:
    url, run = lims
    clock = Clock()
    contacts = directory(url, clock=clock)
    assert await find(contacts) == [ADA, GRACE]
    run("DELETE FROM staff WHERE role = 'PI'")
    clock.now += 299
    assert await find(contacts) == [ADA, GRACE]
    clock.now += 2
    assert await find(contacts) == [GRACE]


async def test_nothing_can_be_changed_by_the_query(
    lims: tuple[str, Run], kind: str, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph_notifier.contacts.query.judge_query", lambda query: query)
    with pytest.raises(ContactsUnavailableError, match=r"SQLITE_READONLY|1792"):
        await find(directory(lims[0], "DELETE FROM staff WHERE study = :subject"))
    assert len(await find(directory(lims[0]))) == 2


async def test_a_query_that_does_not_end_is_ended(
    lims: tuple[str, Run], kind: str, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "STATEMENT_SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises(ContactsUnavailableError, match=r"OperationalError (SQLITE_INTERRUPT|1969)"):
        await find(directory(lims[0], SLOW[kind]))
    assert time.monotonic() - begin < 50  # by itself it would take a minute, or for ever


@pytest.mark.parametrize(
    "query", ["SELECT mail AS recipient FROM nowhere WHERE s = :subject", "SELECT :subject FROM ("]
)
async def test_an_error_tells_neither_the_query_nor_a_secret(
    lims: tuple[str, Run], directory: Directory, query: str
) -> None:
    contacts = directory(lims[0], query)
    with capture_logs() as logs, pytest.raises(ContactsUnavailableError) as caught:
        await find(contacts, "study/secret")
    told = f"{caught.value!r} {caught.value.__cause__} {logs}"
    assert "Error" in told
    for word in ("nowhere", "SELECT", "study/secret", PASSWORD):
        assert word not in told


async def test_a_missing_sqlite_file_is_away_and_not_made(tmp_path: Path, directory: Directory) -> None:
    contacts = directory(f"sqlite:///{tmp_path / 'lims.db'}")
    with pytest.raises(ContactsUnavailableError, match="SQLITE_CANTOPEN"):
        await find(contacts)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a folder in memory, looked at once


async def test_while_the_server_is_away_what_it_said_still_holds(mariadb: MariaDB, directory: Directory) -> None:
    clock = Clock()
    contacts = directory(mariadb.url, clock=clock)
    assert await find(contacts) == [ADA, GRACE]
    mariadb.stop()
    clock.now += 3_500
    with capture_logs() as logs:
        assert await find(contacts) == [ADA, GRACE]
        assert await find(contacts) == [ADA, GRACE]
        with pytest.raises(ContactsUnavailableError, match="OperationalError 2003"):
            await find(contacts, "study/5902")
        clock.now += 200
        with pytest.raises(ContactsUnavailableError) as caught:
            await find(contacts)
        assert caught.value.lasting.total_seconds() == 200
        mariadb.start()
        assert await find(contacts) == [ADA, GRACE]  # the connections of before are replaced
        assert await find(contacts, "study/5902") != []
    assert [entry["event"] for entry in logs] == [
        "the contact directory is away; notices that need it wait", "the contact directory is back",
    ]  # fmt: skip


async def test_a_server_that_was_started_again_is_not_noticed(mariadb: MariaDB, directory: Directory) -> None:
    contacts = directory(mariadb.url)
    assert await find(contacts)
    mariadb.stop()
    mariadb.start()
    with capture_logs() as logs:
        assert await find(contacts, "study/5902")
    assert logs == []


async def test_who_asks_a_frozen_server_waits_a_moment_once(mariadb: MariaDB, directory: Directory) -> None:
    contacts = directory(mariadb.url, patience=0.5)
    mariadb.pause()
    try:
        begin = time.monotonic()
        for study in range(20):
            with pytest.raises(ContactsUnavailableError, match="not answered yet"):
                await find(contacts, f"study/{5900 + study}")
        assert time.monotonic() - begin < 5  # half of what it is to wait for each
    finally:
        mariadb.resume()
    await asyncio.wait_for(answered(contacts), 60)
    assert await find(contacts) == [ADA, GRACE]  # by the lookup that went on


async def answered(contacts: RememberedContacts) -> None:
    while contacts._lookups:
        await asyncio.wait(contacts._lookups.values())


async def test_a_server_that_failed_is_left_alone_for_a_while(mariadb: MariaDB, directory: Directory) -> None:
    clock = Clock()
    contacts = directory(mariadb.url, clock=clock, rest=5)
    mariadb.stop()
    with pytest.raises(ContactsUnavailableError):
        await find(contacts)
    mariadb.start()
    clock.now += 4
    with pytest.raises(ContactsUnavailableError):
        await find(contacts)
    clock.now += 2
    assert await find(contacts) == [ADA, GRACE]


async def test_a_fault_of_a_source_counts_as_its_absence() -> None:
    class Faulty:
        async def named(self, subject: str) -> Sequence[Contact]:
            raise ZeroDivisionError(subject)

        async def close(self) -> None:
            """Do nothing."""

    clock = Clock()
    contacts = RememberedContacts(Faulty(), seconds=300, clock=clock)
    for seconds in (0, 600):
        clock.now += seconds
        with pytest.raises(ContactsUnavailableError, match=r"failed \(ZeroDivisionError\)") as caught:
            await find(contacts)
        assert caught.value.lasting.total_seconds() == seconds


async def test_of_very_many_subjects_the_oldest_are_forgotten(
    mariadb: MariaDB, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph_notifier.contacts.remembered.MOST_SUBJECTS", 10)
    contacts = directory(mariadb.url, "SELECT 'a@b.c' AS recipient WHERE :subject <> ''")
    for study in range(25):
        assert await find(contacts, f"study/{study}")
    assert list(contacts._answers) == [f"study/{study}" for study in range(15, 25)]
