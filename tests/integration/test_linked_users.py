"""Matrix users that are linked to people by a code, and the rooms that are theirs, as stored."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from heliograph.notices.linked import CODE_LIFETIME, LINKED, MOST_TRIES, Link, LinkedUsers, ensure_linked_indexes
from heliograph.notices.model import Wish
from heliograph.notices.preferences import PREFERENCES, Preferences, PreferenceStore
from heliograph.storage import Database

ADA, GRACE = "@ada:example.org", "@grace:example.org"


@pytest.fixture(scope="module")
def kept_name() -> str:
    """One database for all of these tests: emptying it is quicker than building its indexes again."""
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture
async def database(mongodb_url: str, kept_name: str) -> AsyncIterator[Database]:
    async with Database(mongodb_url, kept_name) as opened:
        await ensure_linked_indexes(opened)
        yield opened
        for collection in (LINKED, PREFERENCES):
            await opened.collection(collection).delete_many({})


async def age(database: Database, person: str, by: timedelta) -> None:
    """Let a challenge have been asked for earlier."""
    earlier = {"$subtract": ["$challenge.until", int(by / timedelta(milliseconds=1))]}
    await database.collection(LINKED).update_one({"_id": person}, [{"$set": {"challenge.until": earlier}}])


async def test_who_says_the_code_as_the_user_is_linked(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    assert await linked.person_of(ADA) is None
    assert await linked.of_person("ada") == Link("ada", None)
    assert await linked.redeem(ADA, code) == "ada"
    assert await linked.person_of(ADA) == "ada"
    link = await linked.of_person("ada")
    assert (link.user, link.rooms) == (ADA, ())
    assert link.linked_at is not None
    assert await linked.redeem(ADA, code) is None  # a code is good once


@pytest.mark.parametrize(
    "spoken", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:3]} {code[3:]} "]
)
async def test_how_a_code_is_written_does_not_matter(database: Database, spoken: Callable[[str], str]) -> None:
    linked = LinkedUsers(database)
    assert await linked.redeem(ADA, spoken(await linked.challenge("ada", ADA))) == "ada"


async def test_a_code_is_for_its_user_alone(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    assert await linked.redeem(GRACE, code) is None
    assert await linked.person_of(GRACE) is None
    assert await linked.redeem(ADA, code) == "ada"  # what others try costs nobody a try


async def test_the_last_code_counts(database: Database) -> None:
    linked = LinkedUsers(database)
    first, second = await linked.challenge("ada", ADA), await linked.challenge("ada", ADA)
    assert first != second
    assert await linked.redeem(ADA, first) is None
    assert await linked.redeem(ADA, second) == "ada"


async def test_a_code_expires(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    await age(database, "ada", CODE_LIFETIME)
    assert await linked.redeem(ADA, code) is None


async def test_after_five_wrong_codes_the_right_one_is_too_late(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    for _ in range(MOST_TRIES - 1):
        assert await linked.redeem(ADA, "AAAAA-AAAAA") is None
    again = await linked.challenge("grace", GRACE)
    assert await linked.redeem(GRACE, again) == "grace"  # whose tries are their own
    assert await linked.redeem(ADA, "AAAAA-AAAAA") is None
    assert await linked.redeem(ADA, code) is None
    assert await linked.redeem(ADA, await linked.challenge("ada", ADA)) == "ada"


async def test_of_many_codes_tried_at_once_five_are_heard(database: Database) -> None:
    linked = LinkedUsers(database)
    await linked.challenge("ada", ADA)
    await asyncio.gather(*(linked.redeem(ADA, f"AAAAA-AAA{number:02}") for number in range(30)))
    document = await database.collection(LINKED).find_one({"_id": "ada"})
    assert document is not None
    assert document["challenge"]["tries"] == MOST_TRIES


async def test_the_right_code_said_twice_at_once_links_once(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    answers = await asyncio.gather(*(linked.redeem(ADA, code) for _ in range(4)))
    assert answers.count("ada") == 1
    assert (await linked.of_person("ada")).user == ADA


async def test_strangers_who_ask_for_the_same_user_are_not_in_the_way(database: Database) -> None:
    linked = LinkedUsers(database)
    for number in range(30):
        await linked.challenge(f"mallory {number}", ADA)
    code = await linked.challenge("ada", ADA)
    assert await linked.redeem(ADA, code) == "ada"


async def test_a_user_belongs_to_the_person_who_linked_it_last(database: Database) -> None:
    linked = LinkedUsers(database)
    assert await linked.redeem(ADA, await linked.challenge("ada", ADA)) == "ada"
    await linked.prove_room("ada", "!lab")
    assert await linked.redeem(ADA, await linked.challenge("ada's other account", ADA)) == "ada's other account"
    assert await linked.person_of(ADA) == "ada's other account"
    assert await linked.of_person("ada") == Link("ada", None)  # nor does a room of theirs stay proven


async def test_another_user_takes_the_place_of_the_first_and_no_room_stays_proven(database: Database) -> None:
    linked = LinkedUsers(database)
    await linked.redeem(ADA, await linked.challenge("ada", ADA))
    await linked.prove_room("ada", "!lab")
    await linked.prove_room("ada", "!lab")
    assert (await linked.of_person("ada")).rooms == ("!lab",)
    await linked.redeem(GRACE, await linked.challenge("ada", GRACE))
    assert await linked.person_of(ADA) is None
    assert ((await linked.of_person("ada")).user, (await linked.of_person("ada")).rooms) == (GRACE, ())


async def test_a_room_is_proven_for_linked_users_alone_and_the_last_fifty_are_kept(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    await linked.prove_room("ada", "!early")
    await linked.prove_room("nobody", "!lab")
    assert (await linked.of_person("nobody")).rooms == (await linked.of_person("ada")).rooms == ()
    await linked.redeem(ADA, code)
    for number in range(52):
        await linked.prove_room("ada", f"!{number}")
    assert (await linked.of_person("ada")).rooms == tuple(f"!{number}" for number in range(2, 52))


async def test_who_unlinks_withdraws_an_open_code_too(database: Database) -> None:
    linked = LinkedUsers(database)
    await linked.redeem(ADA, await linked.challenge("ada", ADA))
    code = await linked.challenge("ada", GRACE)
    assert await linked.unlink("ada")
    assert await linked.redeem(GRACE, code) is None
    assert await linked.person_of(ADA) is None
    assert not await linked.unlink("ada")


async def test_who_asked_for_a_code_only_may_withdraw_it(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    assert not await linked.unlink("ada")  # there was no user yet
    assert await linked.redeem(ADA, code) is None


async def test_what_a_crash_left_half_linked_is_linked_when_the_user_says_the_code_again(database: Database) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    await database.collection(LINKED).update_one({"_id": "ada"}, {"$set": {"challenge.is_met": True}})
    assert await linked.redeem(GRACE, code) is None
    assert await linked.redeem(ADA, code) == "ada"
    assert await linked.person_of(GRACE) is None


async def test_a_code_is_not_kept_and_holds_no_letter_that_is_mistaken(database: Database) -> None:
    linked = LinkedUsers(database)
    codes = [await linked.challenge("ada", ADA) for _ in range(20)]
    assert not set("".join(codes)) & set("01IO")
    assert len(set(codes)) == len(codes)
    stored = str(await database.collection(LINKED).find_one({"_id": "ada"}))
    assert codes[-1] not in stored
    assert codes[-1].replace("-", "") not in stored


@pytest.mark.parametrize("hostile", ["$user", "$$ROOT", {"$ne": None}])
async def test_what_looks_like_an_operator_is_a_word(database: Database, hostile: Any) -> None:
    linked = LinkedUsers(database)
    code = await linked.challenge("ada", ADA)
    assert await linked.redeem(str(hostile), code) is None
    assert await linked.redeem(ADA, str(hostile)) is None
    assert await linked.redeem(str(hostile), await linked.challenge("ada", str(hostile))) == "ada"
    assert (await linked.of_person("ada")).user == str(hostile)


@pytest.mark.parametrize(("stated", "left"), [("!lab", ""), ("!of the operators", "!of the operators")])
async def test_who_unlinks_is_not_told_in_rooms_that_the_user_proved(
    database: Database, stated: str, left: str
) -> None:
    """What else they said stays, as does a room that somebody with a role has named."""
    linked, preferences = LinkedUsers(database), PreferenceStore(database)
    await linked.redeem(ADA, await linked.challenge("ada", ADA))
    await linked.prove_room("ada", "!lab")
    before = Preferences(
        "ada", {"matrix": Wish("matrix", stated, failed=True), "email": Wish("email", "a@example.org")}
    )
    await preferences.change("ada", lambda _: before)
    await linked.unlink("ada")
    wishes = {**before.wishes, "matrix": Wish("matrix", left, failed=True)}
    assert (await preferences.get("ada")).wishes == wishes
