"""A contact directory in a YAML file: what it may say, how its mistakes are told, and that it may be edited."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest
from heliograph_notifier.contacts.entry import Entry
from heliograph_notifier.contacts.file import FileContacts
from heliograph_notifier.contacts.reading import ContactsFileError, read_directory
from heliograph_notifier.settings import NotifierSettings

DIRECTORY = """\
people:
  ada: {name: Ada Lovelace, email: ada@example.org, login: ada@example.org, role: PI}
subjects:
  study/5901:
    - ada
    - {who: ada, role: reviewer, email: review@example.org, failed: false}
    - email: grace@example.org
      matrix: "!lab:example.org"
      role: Operator
      done: true
      threshold_seconds: 0
  "site mrc1":
    - {channel: ntfy, recipient: dome}
  nobody: []
"""
ADA = Wish("email", "ada@example.org", person="ada@example.org")
REVIEW = Wish("email", "review@example.org", failed=False, person="ada@example.org")
GRACE = tuple(
    Wish(channel, recipient, done=True, threshold_seconds=0.0)
    for channel, recipient in (("email", "grace@example.org"), ("matrix", "!lab:example.org"))
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that may be edited."""
    path = tmp_path / "contacts.yaml"
    path.write_text(DIRECTORY)
    return path


async def find(contacts: FileContacts, subject: str = "study/5901", *roles: str) -> list[Wish]:
    return list(await contacts.find(ContactRequest(subject, roles)))


def edit(path: Path, text: str | None) -> None:
    """Write the file anew, or take it away."""
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def put_in_place(path: Path, text: str) -> None:
    """Replace the file by another one of the same size and time."""
    before, other = path.stat(), path.with_suffix(".new")
    other.write_text(text)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.stat().st_size == before.st_size
    other.replace(path)


@pytest.mark.parametrize(
    ("subject", "roles", "found"),
    [
        ("study/5901", (), [ADA, REVIEW, *GRACE]),
        (" study/5901 ", (), [ADA, REVIEW, *GRACE]),
        ("study/5901", ("PI",), [ADA]),
        ("study/5901", ("pi", "OPERATOR"), [ADA, *GRACE]),
        ("study/5901", ("director",), []),
        ("site mrc1", (), [Wish("ntfy", "dome")]),
        ("site mrc1", ("PI",), []),
        ("nobody", (), []),
        ("study/5902", (), []),
    ],
)
async def test_people_are_found_by_subject_and_role(
    path: Path, subject: str, roles: tuple[str, ...], found: list[Wish]
) -> None:
    assert await find(FileContacts(path), subject, *roles) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: a directory has the sections subjects"),
        ("subjects: [", "line 1: this is not YAML"),
        ("subjects:\n  a:\n   b", "line 2: subjects.a: should be a list"),
        ("subjects: {}\npeople:\n  \t- x", "line 3: this is not YAML"),
        ("subject: {}", "subject: there is no such field"),
        ("subjects:\n  5901: []", "line 2: subjects.5901: a name is text: write it in quotes"),
        ("subjects:\n  a: []\n  b: []\n  a: []", "line 4: a stands twice"),
        ("subjects:\n  a:\n  - {email: x@y.z, email: z@y.x}", "line 3: email stands twice"),
        ("subjects:\n  a:\n  - {role: PI}", "line 3: subjects.a.0: it has neither email nor matrix nor recipient"),
        ("subjects:\n  a:\n  - {channel: ntfy, email: x@y.z}", "line 3: subjects.a.0: a channel takes a recipient"),
        (
            "subjects:\n  a:\n  - {email: Ada <a@b.c>}",
            "line 3: subjects.a.0: this is no recipient on the channel email",
        ),
        (
            "subjects:\n  a:\n  - {matrix: '@ada:b.c'}",
            "line 3: subjects.a.0: this is no recipient on the channel matri",
        ),
        ("subjects:\n  a:\n  - bob", "line 3: subjects.a.0: nobody under people is called bob"),
        ("subjects:\n  a:\n  - {who: 5}", "line 3: subjects.a.0: nobody under people is called 5"),
        ("people:\n  ada: x\nsubjects: {}", "line 2: people.ada: nobody under people is called x"),
        ("subjects:\n  a:\n  -\n    email: x@y.z\n    emial: q", "line 5: subjects.a.0.emial: there is no such field"),
        (
            "subjects:\n  a:\n  - {email: x@y.z, failed: 'no'}",
            "line 3: subjects.a.0.failed: Input should be a valid boo",
        ),
        (
            "subjects:\n  a:\n  - {email: x@y.z, threshold_seconds: -1}",
            "threshold_seconds: Input should be greater than",
        ),
        ('subjects:\n  a: ["\\ud800"]', "half a character"),
        ("subjects:\n  a: 2026-13-45", "this is not YAML: month must be"),
        ("subjects:\n" + "".join(f"  a{n}: x\n" for n in range(9)), "; and 4 more"),
    ],
)
def test_a_mistake_is_told_by_line_and_field(text: str, told: str) -> None:
    with pytest.raises(ContactsFileError) as caught:
        read_directory(text)
    assert told in str(caught.value)


def test_an_alias_may_lead_back_to_itself() -> None:
    with pytest.raises(ContactsFileError, match=r"subjects\.a: should be a list"):
        read_directory("subjects: &a\n  a: *a")


async def test_an_edit_holds_at_once(path: Path) -> None:
    contacts = FileContacts(path)
    assert len(await find(contacts)) == 4
    edit(path, "subjects: {study/5901: [{email: joan@example.org}]}")
    assert await find(contacts) == [Wish("email", "joan@example.org")]


async def test_a_file_that_is_put_in_its_place_holds_too(path: Path) -> None:
    contacts = FileContacts(path)
    put_in_place(path, DIRECTORY.replace("grace@", "clara@"))
    assert "clara@example.org" in {wish.recipient for wish in await find(contacts)}


@pytest.mark.parametrize("broken", ["subjects: [", None])
async def test_a_broken_edit_keeps_what_held_and_is_told_once(path: Path, broken: str | None) -> None:
    contacts = FileContacts(path)
    edit(path, broken)
    with capture_logs() as logs:
        for _ in range(3):
            assert len(await find(contacts)) == 4
    (entry,) = logs
    assert entry["log_level"] == "error"
    assert str(path) in entry["why"]
    edit(path, "subjects: {}")
    assert await find(contacts) == []


SETTINGS: dict[str, Any] = {"mongodb_url": "mongodb://localhost/", "bus_url": "memory://"}
QUERY = "SELECT mail AS recipient FROM staff WHERE study = :subject"
URL = "mysql+pymysql://reader:very-secret@db/lims"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"contacts_file": "/nowhere/contacts.yaml"}, "FILE /nowhere/contacts.yaml cannot be read: No such file"),
        ({"contacts_url": URL}, "QUERY is not set, and HELIOGRAPH_CONTACTS_URL is"),
        ({"contacts_query": QUERY}, "QUERY is set without HELIOGRAPH_CONTACTS_URL"),
        ({"contacts_url": "lims", "contacts_query": QUERY}, "URL is not a database's URL"),
        ({"contacts_url": "mysql://a:very-secret@db/x", "contacts_query": QUERY}, "URL needs a driver"),
        ({"contacts_url": URL, "contacts_query": "DELETE FROM staff WHERE study = :subject"}, "not a single SELECT"),
        ({"contacts_url": URL, "contacts_query": f"{QUERY}; DROP TABLE staff"}, "is not a single SELECT"),
        ({"contacts_url": URL, "contacts_query": "SELECT mail FROM staff"}, "does not say where :subject goes"),
        ({"contacts_url": URL, "contacts_query": f"{QUERY} AND role = :role"}, "takes :role; only :subject is known"),
    ],
)
def test_a_setting_that_does_not_fit_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], told: str
) -> None:
    for name, value in {**SETTINGS, **fields}.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name.upper()}", value)
    with pytest.raises(SystemExit) as caught:
        NotifierSettings.load()
    assert told in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_there_is_one_directory_only(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    fields = {**SETTINGS, "contacts_file": str(path), "contacts_url": URL, "contacts_query": QUERY}
    for name, value in fields.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name.upper()}", value)
    with pytest.raises(SystemExit, match="CONTACTS_URL is set beside HELIOGRAPH_CONTACTS_FILE"):
        NotifierSettings.load()


def test_a_file_with_a_mistake_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.write_text("subjects: {a: b}")
    for name, value in {**SETTINGS, "contacts_file": str(path)}.items():
        monkeypatch.setenv(f"HELIOGRAPH_{name.upper()}", value)
    with pytest.raises(SystemExit, match=r"contacts\.yaml, line 1: subjects\.a: should be a list"):
        NotifierSettings.load()


def test_a_query_may_end_with_a_semicolon_and_quote_one() -> None:
    fields = {**SETTINGS, "contacts_url": URL, "contacts_query": QUERY + " AND note <> 'a;b' ;"}
    assert NotifierSettings.model_validate(fields).contacts_query == QUERY + " AND note <> 'a;b'"


def test_the_page_of_operators_shows_a_directory_and_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "contacts.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert {subject: len(people) for subject, people in read_directory(example).items()} == {
        "study/5901": 2, "study/5902": 2, "2026-07": 1,
    }  # fmt: skip
    table = page.partition("| field |")[2].partition("\n\n")[0]
    rows = (row.split("|")[1] for row in table.splitlines()[2:])
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} == {*Entry.model_fields, "who"}
