"""What people state about being told: preferences, mutes, watches, and bulletins, as stored."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from heliograph.errors import NotFoundError
from heliograph.ids import new_id
from heliograph.notices.announced import CHANNELS, SEEN_OF_LATE, AnnouncedChannels
from heliograph.notices.bulletins import BULLETINS, Bulletin, BulletinStore, ensure_bulletin_indexes
from heliograph.notices.linked import LINKED, ensure_linked_indexes
from heliograph.notices.model import Occasion, SubjectKind, Wish
from heliograph.notices.mutes import MUTES, Mute, MuteScope, MuteStore, ensure_mute_indexes
from heliograph.notices.preferences import PREFERENCES, Preferences, PreferenceStore, QuietHours
from heliograph.notices.watches import WATCHES, Watch, WatchKind, WatchStore, ensure_watch_indexes
from heliograph.storage import Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADA = "@ada:example.org"


@pytest.fixture(scope="module")
def kept_name() -> str:
    """One database for all of these tests: emptying it is quicker than building its indexes again."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
async def database(mongodb_url: str, kept_name: str) -> AsyncIterator[Database]:
    async with Database(mongodb_url, kept_name) as opened:
        for ensure in (ensure_mute_indexes, ensure_watch_indexes, ensure_linked_indexes, ensure_bulletin_indexes):
            await ensure(opened)
        yield opened
        for collection in (PREFERENCES, MUTES, WATCHES, LINKED, BULLETINS, CHANNELS):
            await opened.collection(collection).delete_many({})


# Preferences.

FULL = Preferences(
    "ada", {"email": Wish("email", failed=False), "pager": Wish("pager", "desk 7")}, "Europe/Zurich",
    QuietHours(time(22), time(7, 30)), frozenset({0, 4}), frozenset({Occasion.FAILED, Occasion.FAILING}),
)  # fmt: skip


def becoming(preferences: Preferences) -> Callable[[Preferences], Preferences]:
    return lambda _: preferences


async def test_preferences_come_back_as_they_were_stated(database: Database) -> None:
    store = PreferenceStore(database)
    assert await store.get("ada") == Preferences("ada")
    for each in (FULL, Preferences("grace", working_days=frozenset())):
        assert await store.change(each.person, becoming(each)) == each
    assert await store.get("ada") == FULL
    assert await store.several(["ada", "grace", "nobody"]) == {
        "ada": FULL, "grace": Preferences("grace", working_days=frozenset()),
    }  # fmt: skip
    assert await store.several([]) == {}


async def test_two_changes_of_preferences_at_once_both_count(database: Database) -> None:
    store = PreferenceStore(database)
    changes: list[Callable[[Preferences], Preferences]] = [
        lambda known: replace(known, time_zone="Europe/Zurich"),
        lambda known: replace(known, quiet_hours=FULL.quiet_hours),
        lambda known: replace(known, urgent=FULL.urgent),
    ]
    await asyncio.gather(*(store.change("ada", change) for change in changes))
    assert await store.get("ada") == replace(FULL, wishes={}, working_days=None)


async def test_what_a_newer_version_stated_is_passed_over(database: Database) -> None:
    await PreferenceStore(database).change("ada", becoming(FULL))
    newer = {"urgent": ["failed", "failing", "eclipse"], "wishes.0.colour": "red", "tone": "polite"}
    await database.collection(PREFERENCES).update_one({"_id": "ada"}, {"$set": newer})
    assert await PreferenceStore(database).get("ada") == FULL


# Mutes.


def mute(**fields: Any) -> Mute:
    plain: dict[str, Any] = {"id": new_id(), "scope": MuteScope.ALL, "made_by": "the api", "created_at": NOW}
    return Mute(**(plain | fields))


async def test_mutes_are_found_by_whom_and_where_they_touch(database: Database) -> None:
    store = MuteStore(database)
    ada = mute(person="ada", scope=MuteScope.GROUP, of="night 7", owner="ada")
    at_mail = mute(person="ada", channel="email", until=NOW + timedelta(days=9000))
    link = mute(channel="email", recipient="lab@example.org", scope=MuteScope.JOB, of="01J", made_by="a link")
    room = mute(channel="matrix", recipient="!lab")
    for each in (ada, at_mail, link, room):
        await store.add(each)

    async def touching(people: list[str], *places: tuple[str, str]) -> set[str]:
        found = await store.touching(people, places)
        assert all(each in (ada, at_mail, link, room) for each in found)
        return {each.id for each in found}

    assert await touching(["ada", "grace"]) == {ada.id, at_mail.id}
    assert await touching([], ("email", "lab@example.org")) == {link.id}
    assert await touching(["grace"], ("matrix", "lab@example.org"), ("matrix", "!lab")) == {room.id}
    assert await touching(["ada"], ("email", "lab@example.org"), ("matrix", "!lab")) == {
        ada.id, at_mail.id, link.id, room.id,
    }  # fmt: skip
    assert await touching([]) == set()
    assert [each.id for each in await store.of_person("ada")] == [at_mail.id, ada.id]


async def test_the_same_mute_again_changes_nothing(database: Database) -> None:
    store, one = MuteStore(database), mute(person="ada")
    await asyncio.gather(*(store.add(one) for _ in range(5)))
    await store.add(replace(one, scope=MuteScope.JOB, of="01J"))
    assert await store.of_person("ada") == [one]


async def test_only_its_person_takes_a_mute_back(database: Database) -> None:
    store, one, link = MuteStore(database), mute(person="ada"), mute(channel="email", recipient="lab@example.org")
    await store.add(one)
    await store.add(link)
    assert not await store.remove(one.id, person="grace")
    assert not await store.remove(link.id, person="grace")
    assert await store.remove(one.id, person="ada")
    assert not await store.remove(one.id, person="ada")
    assert await store.remove(link.id)


# Watches.


def watch(**fields: Any) -> Watch:
    plain: dict[str, Any] = {
        "id": new_id(),
        "person": "ada",
        "kind": WatchKind.QUEUE,
        "of": "periodogram",
        "owner": None,
    }
    return Watch(**(plain | {"created_at": NOW} | fields))


async def test_watches_are_found_by_what_they_are_over(database: Database) -> None:
    store = WatchStore(database)
    queue = watch(claimed=(Wish("email", "ada@example.org"),), asked=(Wish("email", failed=False),), time_zone="UTC")
    group = watch(kind=WatchKind.GROUP, of="periodogram", owner="ada", person="grace")
    other = watch(of="another")
    for each in (queue, group, other):
        await store.add(each)
    assert await store.over(["periodogram", "nothing"], []) == [queue]
    assert await store.over(["another"], ["periodogram"]) == [group, other]
    assert await store.over([], []) == []
    assert await store.of_person("ada") == [other, queue]
    assert not await store.remove(queue.id, "grace")
    assert await store.remove(queue.id, "ada")
    assert await store.of_person("ada") == [other]


# Bulletins.


def bulletin(**fields: Any) -> Bulletin:
    plain: dict[str, Any] = {"id": new_id(), "kind": SubjectKind.INCIDENT, "by": "ada", "created_at": NOW}
    return Bulletin(**(plain | fields))


async def test_a_bulletin_is_unplanned_until_it_is_settled(database: Database) -> None:
    store = BulletinStore(database)
    report = bulletin(text="no stars", title="sky", job="01J", occurred_at=NOW - timedelta(hours=1), time_zone="UTC")
    test = bulletin(kind=SubjectKind.TEST, wishes=(Wish("email", "ada@example.org", failed=False),))
    await store.add(report)
    await store.add(test)
    assert await store.unplanned() == [report, test]
    await store.settle(report.id)
    await store.settle(report.id)
    assert await store.unplanned() == [test]
    settled = await store.get(report.id)
    assert settled.planned_at is not None
    assert replace(settled, planned_at=None) == report


async def test_bulletins_are_paged_by_kind_the_newest_first(database: Database) -> None:
    store, reports = BulletinStore(database), [bulletin(text=str(number)) for number in range(5)]
    for each in (*reports, bulletin(kind=SubjectKind.TEST)):
        await store.add(each)
    first, cursor = await store.page(SubjectKind.INCIDENT, limit=3)
    rest, end = await store.page(SubjectKind.INCIDENT, limit=3, cursor=cursor)
    assert [*first, *rest] == reports[::-1]
    assert end is None


async def test_there_is_no_bulletin_that_nobody_made(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await BulletinStore(database).get(new_id())


# What notifiers announce.


async def test_what_notifiers_announced_holds_for_five_minutes(database: Database) -> None:
    announced = AnnouncedChannels(database)
    assert (await announced.channels(), await announced.tells_incidents()) == ({}, None)
    defaults = {"email": {"failed": True, "threshold_seconds": 600.0}}
    await announced.announce({"email": None, "matrix": "$bot:example.org"}, incidents=2, defaults=defaults)
    await announced.announce({"incidents": None}, incidents=0)  # another notifier, with a channel of this name
    assert await announced.channels() == {"email": None, "matrix": "$bot:example.org", "incidents": None}
    assert await announced.defaults() == defaults | {"matrix": {}, "incidents": {}}
    assert await announced.tells_incidents() is False
    past = {"$set": {"seen_at": await database.now() - SEEN_OF_LATE}}
    await database.collection(CHANNELS).update_many({}, past)
    assert (await announced.channels(), await announced.tells_incidents()) == ({}, None)


# All of them.


@pytest.mark.parametrize(
    ("collection", "field", "after_seconds"), [(MUTES, "until", 86_400), (BULLETINS, "expires_at", 0)]
)
async def test_what_is_over_is_removed_by_the_database(
    database: Database, collection: str, field: str, after_seconds: int
) -> None:
    indexes = await database.collection(collection).index_information()
    assert indexes["over"]["key"] == [(field, 1)]
    assert indexes["over"]["expireAfterSeconds"] == after_seconds


@pytest.mark.parametrize(
    "ensure", [ensure_mute_indexes, ensure_watch_indexes, ensure_linked_indexes, ensure_bulletin_indexes]
)
async def test_indexes_may_be_made_again(database: Database, ensure: Callable[[Database], Awaitable[None]]) -> None:
    await asyncio.gather(ensure(database), ensure(database))


@pytest.mark.parametrize(
    ("collection", "where"),
    [
        (MUTES, {"$or": [{"channel": "email", "recipient": "lab@example.org"}, {"person": {"$in": ["ada", "grace"]}}]}),
        (WATCHES, {"$or": [{"kind": "queue", "of": {"$in": ["a", "b"]}}, {"kind": "group", "of": {"$in": ["a"]}}]}),
        (LINKED, {"user": ADA}),
        (LINKED, {"challenge.user": ADA, "challenge.code": "00", "challenge.is_met": True}),
        (BULLETINS, {"unplanned": True}),
    ],
)
async def test_what_is_read_all_the_time_is_read_by_an_index(
    database: Database, collection: str, where: dict[str, Any]
) -> None:
    plan = await database.collection(collection).find(where).explain()
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
