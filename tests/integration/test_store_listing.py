"""Lists are found by key: jobs that come and go meanwhile neither repeat nor hide others."""

import base64
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from heliograph.errors import InvalidInputError
from heliograph.jobs.states import State
from heliograph.jobs.store.listing import Criteria
from tests.parts.jobs import Stores, done


async def names(stores: Stores, criteria: Criteria) -> list[str | None]:
    return [job.name for job in (await stores.listing.page(criteria, limit=50)).jobs]


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(owner="bob"),
        Criteria(backend="fits"),
        Criteria(queue="north"),
        Criteria(group="g1"),
        Criteria(name="wanted"),
        Criteria(states=(State.CANCELLED, State.DONE)),
        Criteria(owner="bob", queue="north", group="g1", states=(State.CANCELLED,)),
    ],
)
async def test_by_what_is_asked_for(stores: Stores, criteria: Criteria) -> None:
    wanted = await stores.submit(name="wanted", owner="bob", backend="fits", queue="north", group="g1")
    await stores.jobs.cancel(wanted.id, "bob")
    await stores.submit(name="other")
    assert await names(stores, criteria) == ["wanted"]


async def test_the_newest_first(stores: Stores) -> None:
    for number in range(3):
        await stores.submit(name=str(number))
    assert await names(stores, Criteria()) == ["2", "1", "0"]


async def test_by_time_from_and_before(stores: Stores) -> None:
    first = await stores.submit(name="first")
    await stores.collection.update_one(
        {"_id": first.id}, {"$set": {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}}
    )  # fmt: skip
    await stores.submit(name="second")
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    assert await names(stores, Criteria(created_after=new_year)) == ["second", "first"]
    assert await names(stores, Criteria(created_before=new_year)) == []
    assert await names(stores, Criteria(created_before=new_year + timedelta(milliseconds=1))) == ["first"]


async def test_pages_go_on_without_repeats_or_gaps_while_jobs_come_and_go(stores: Stores) -> None:
    before = [await stores.submit(name=str(number)) for number in range(9)]
    seen: list[str | None] = []
    cursor = None
    while True:
        page = await stores.listing.page(Criteria(), limit=2, cursor=cursor)
        seen += [job.name for job in page.jobs]
        cursor = page.next
        await stores.submit(name="a new one")
        await stores.collection.delete_one({"_id": page.jobs[-1].id})  # the job that the cursor names
        if cursor is None:
            break
    assert seen == [job.name for job in reversed(before)]


async def test_a_full_last_page_has_no_next(stores: Stores) -> None:
    for _ in range(2):
        await stores.submit()
    assert (await stores.listing.page(Criteria(), limit=2)).next is None


async def test_a_list_shows_no_history(stores: Stores) -> None:
    await stores.submit()
    assert (await stores.listing.page(Criteria(), limit=2)).jobs[0].history == ()


async def test_what_changed_since_comes_in_the_order_of_the_changes(stores: Stores) -> None:
    for number in range(4):
        await stores.submit(name=str(number))
    since = await stores.database.now()
    changed = await stores.claim()
    await stores.finish(changed, done())
    other = await stores.claim()
    page = await stores.listing.page(Criteria(updated_after=since), limit=1)
    assert [job.id for job in page.jobs] == [changed.id]
    page = await stores.listing.page(Criteria(updated_after=since), limit=1, cursor=page.next)
    assert [job.id for job in page.jobs] == [other.id]
    assert page.next is None


async def test_changes_of_one_millisecond_are_not_lost_between_pages(stores: Stores) -> None:
    jobs = [await stores.submit() for _ in range(5)]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    await stores.collection.update_many({}, {"$set": {"updated_at": moment}})
    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        page = await stores.listing.page(Criteria(updated_after=moment), limit=2, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next
    assert seen == [job.id for job in jobs]


def cursor_of(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    ["", "!", "ü", "abc", "WzFd" * 3, cursor_of(1), cursor_of([]), cursor_of([None]), cursor_of({}),
     cursor_of({"a": 1, "b": 2}), cursor_of(["a", "b"]), cursor_of(["a", 1]),
     cursor_of(["a", "0001-01-01T00:00:00+23:59"]), cursor_of(None)],
)  # fmt: skip
@pytest.mark.parametrize("updated_after", [None, datetime(2026, 1, 1, tzinfo=UTC)], ids=["by age", "by change"])
async def test_a_cursor_that_is_none_of_ours_is_refused(
    stores: Stores, cursor: str, updated_after: datetime | None
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        await stores.listing.page(Criteria(updated_after=updated_after), limit=2, cursor=cursor)
    assert [error.field for error in refusal.value.errors] == ["cursor"]


async def test_a_cursor_of_the_other_order_is_refused(stores: Stores) -> None:
    for _ in range(3):
        await stores.submit()
    by_change = Criteria(updated_after=datetime(2026, 1, 1, tzinfo=UTC))
    for criteria, other in ((Criteria(), by_change), (by_change, Criteria())):
        page = await stores.listing.page(criteria, limit=2)
        with pytest.raises(InvalidInputError):
            await stores.listing.page(other, limit=2, cursor=page.next)
