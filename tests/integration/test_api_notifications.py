"""What people prefer to be told, where they may be told of it, and their Matrix users."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.preferences import Preferences, PreferenceStore, QuietHours
from heliograph.wire.preferences import PreferencesView
from tests.parts.api import ADA, SUM, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/me/notifications"
ROOM = "!dome:example.org"
NOTHING = {"email": None, "matrix": None, "time_zone": None, "quiet_hours": None, "working_days": None, "urgent": None}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    for collection in ("preferences", "linked_users", "notice_channels"):
        await opened.database.collection(collection).delete_many({})
    return opened


async def patched(who: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await who.patch(PATH, json=changes)
    assert answer.status_code == httpx.codes.OK, answer.text
    PreferencesView.model_validate(answer.json())
    return dict(answer.json())


async def test_without_any_the_tokens_claims_hold(api: Api) -> None:
    found = (await api.client(ADA, msdone=False, tem=60, mxroomid=ROOM).get(PATH)).json()
    assert {name: found[name] for name in NOTHING} == NOTHING
    assert found["effective"]["email"]["recipient"] == ADA
    assert found["effective"]["email"]["done"] is False
    assert found["effective"]["email"]["threshold_seconds"] == 60
    assert found["effective"]["email"]["failed"] is None  # the platform's to say
    assert found["effective"]["matrix"]["recipient"] == ROOM


async def test_what_is_stated_goes_before_the_claims_and_null_takes_it_back(api: Api) -> None:
    ada = api.client(ADA, msdone=False, intsub=5)
    found = await patched(ada, email={"done": True, "failed": False}, time_zone="Europe/Zurich")
    assert found["email"] == {"done": True, "failed": False}
    assert found["effective"]["email"]["done_after_threshold"] is True
    assert (found["effective"]["email"]["done"], found["effective"]["email"]["interval_seconds"]) == (True, 5)
    found = await patched(ada, email={"failed": None}, urgent=["failed"])
    assert found["email"] == {"done": True}
    assert (found["time_zone"], found["urgent"]) == ("Europe/Zurich", ["failed"])
    found = await patched(ada, email=None, time_zone=None, urgent=None)
    assert {name: found[name] for name in NOTHING} == NOTHING
    assert found["effective"]["email"]["done"] is False


async def test_what_follows_from_a_threshold_goes_with_it(api: Api) -> None:
    ada = api.client(ADA, mstout=False)
    found = await patched(ada, email={"threshold_seconds": 600})
    assert found["effective"]["email"]["done_after_threshold"] is True
    found = await patched(ada, email={"threshold_seconds": None})
    assert found["email"] is None
    assert found["effective"]["email"]["done_after_threshold"] is False
    stated = await patched(ada, email={"done_after_threshold": True})
    assert stated["email"] == {"done_after_threshold": True}


async def test_hours_and_days_are_merged_member_by_member(api: Api) -> None:
    await patched(api.ada, quiet_hours={"from": "22:00", "to": "07:30"}, working_days=["friday", "monday"])
    found = await patched(api.ada, quiet_hours={"to": "08:00"})
    assert found["quiet_hours"] == {"from": "22:00", "to": "08:00"}
    assert found["working_days"] == ["monday", "friday"]
    stored = await PreferenceStore(api.database).get(ADA)
    assert stored.working_days == frozenset({0, 4})
    assert isinstance(stored.quiet_hours, QuietHours)
    assert stored.quiet_hours.end.isoformat("minutes") == "08:00"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"email": {"submited": True}}, "email.submited"), ({"email": {"done": "yes"}}, "email.done"),
     ({"email": {"threshold_seconds": -1}}, "email.threshold_seconds"), ({"email": 7}, "email"),
     ({"time_zone": "Europe/Zuerich"}, "time_zone"), ({"quiet_hours": {"from": "25:00", "to": "07:00"}},
     "quiet_hours.from"), ({"quiet_hours": {"from": "22:00"}}, "quiet_hours.to"),
     ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "quiet_hours"), ({"working_days": []}, "working_days"),
     ({"working_days": ["Monday"]}, "working_days.0"), ({"urgent": ["lunch"]}, "urgent.0"), ({"sms": {}}, "sms")],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_what_is_wrong_is_named_and_changes_nothing(api: Api, changes: dict[str, Any], field: str) -> None:
    await patched(api.ada, email={"failed": False})
    problem(await api.ada.patch(PATH, json={"urgent": ["done"]} | changes), 422, field)
    found = (await api.ada.get(PATH)).json()
    assert (found["email"], found["urgent"]) == ({"failed": False}, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"foo": 1}, "foo: there is no such field; there are: email, matrix, time_zone, quiet_hours, working_days,"),
     ({"email": {"foo": 1}}, "email.foo: there is no such field; there are: submitted, interval_seconds,"),
     ({"quiet_hours": {"foo": 1}}, "there are: from, to"), ({"email": {"done": "maybe"}}, "say true or false"),
     ({"quiet_hours": {"from": "22", "to": "07:00"}}, "22:00-07:00"), ({"working_days": []}, "name at least one")],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_what_is_wrong_is_said_in_plain_words(api: Api, changes: dict[str, Any], words: str) -> None:
    answer = problem(await api.ada.patch(PATH, json=changes), 422)
    assert words in " ".join([answer["detail"], *(each["message"] for each in answer["errors"])])


async def test_changes_at_once_lose_no_field(api: Api) -> None:
    fields = ("submitted", "running", "done", "failed", "digest")
    changes = [{channel: {field: False}} for channel in ("email", "matrix") for field in fields]
    await asyncio.gather(*(patched(api.ada, **change) for change in changes))
    found = (await api.ada.get(PATH)).json()
    assert found["email"] == found["matrix"] == dict.fromkeys(fields, False)


async def test_the_first_changes_at_once_lose_nothing_either(api: Api) -> None:
    store = PreferenceStore(api.database)

    def stating(number: int) -> Callable[[Preferences], Preferences]:
        return lambda before: replace(before, working_days=(before.working_days or frozenset()) | {number})

    await asyncio.gather(*(store.change("new@example.org", stating(number)) for number in range(7)))
    assert (await store.get("new@example.org")).working_days == frozenset(range(7))


async def test_a_recipient_has_to_be_ones_own(api: Api) -> None:
    ada = api.client("ada", email=ADA, mxroomid=ROOM)
    await patched(ada, email={"recipient": ADA}, matrix={"room": ROOM})
    for changes, field in (
        ({"email": {"recipient": "bob@example.org"}}, "email.recipient"),
        ({"matrix": {"room": "!other:example.org"}}, "matrix.room"),
    ):
        refused = problem(await ada.patch(PATH, json=changes), 422, field)
        assert "role" in refused["detail"]
    assert "/v1/me/matrix" in refused["detail"]  # how to prove it
    mia = api.client("mia@example.org", "job manager")
    found = await patched(mia, email={"recipient": "list@example.org"}, matrix={"room": "!other:example.org"})
    assert found["effective"]["email"]["recipient"] == "list@example.org"
    problem(await mia.patch(PATH, json={"matrix": {"room": "dome"}}), 422, "matrix.room")
    problem(await mia.patch(PATH, json={"email": {"recipient": "a@b, c@d"}}), 422, "email.recipient")


async def test_a_room_is_proven_by_the_linked_matrix_user(api: Api) -> None:
    users = LinkedUsers(api.database)
    assert (await api.ada.get("/v1/me/matrix")).json() == {"user": None, "rooms": [], "linked_at": None}
    refused = problem(await api.ada.post("/v1/me/matrix", json={"user": "@ada:example.org"}), 409)
    assert "Matrix is not set up here" in refused["detail"]
    await AnnouncedChannels(api.database).announce({"email": None, "matrix": "@bot:example.org"}, incidents=0)
    answer = await api.ada.post("/v1/me/matrix", json={"user": "@ada:example.org"})
    assert answer.status_code == httpx.codes.CREATED
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["say"] == f"link {told['code']}"
    assert (told["expires_in_seconds"], told["bot"]) == (900, "@bot:example.org")
    assert await users.redeem("@ada:example.org", told["code"]) == ADA
    problem(await api.ada.patch(PATH, json={"matrix": {"room": ROOM}}), 422, "matrix.room")
    await users.prove_room(ADA, ROOM)
    link = (await api.ada.get("/v1/me/matrix")).json()
    assert (link["user"], link["rooms"]) == ("@ada:example.org", [ROOM])
    assert (await patched(api.ada, matrix={"room": ROOM}))["effective"]["matrix"]["recipient"] == ROOM
    problem(await api.bob.patch(PATH, json={"matrix": {"room": ROOM}}), 422, "matrix.room")
    assert (await api.ada.delete("/v1/me/matrix")).status_code == httpx.codes.NO_CONTENT
    assert "matrix" not in (await api.ada.get(PATH)).json()["effective"]
    problem(await api.ada.delete("/v1/me/matrix"), 404)
    problem(await api.ada.post("/v1/me/matrix", json={"user": "ada"}), 422, "user")
    # What was set while it was theirs does not keep them from changing the rest.
    await patched(api.ada, matrix={"failed": True})


async def test_a_queues_token_stands_for_no_person(api: Api) -> None:
    queue = api.client("mia@example.org", "queue manager")
    assert (await queue.put("/v1/queues/dome", json={})).is_success
    token = (await queue.post("/v1/tokens", json={"queue": "dome", "description": "an agent"})).json()["token"]
    agent = api.bearer(token)
    for method, path in (("GET", PATH), ("PATCH", PATH), ("GET", "/v1/me/matrix"), ("POST", "/v1/me/matrix"),
                         ("DELETE", "/v1/me/matrix")):  # fmt: skip
        problem(await agent.request(method, path, json={} if method == "PATCH" else None), 403)
        problem(await api.bearer(None).request(method, path), 401)


async def test_preferences_do_not_keep_a_job_from_being_submitted(api: Api) -> None:
    await patched(api.ada, email={"submitted": False})
    assert (await api.ada.post("/v1/jobs", json=SUM)).status_code == httpx.codes.CREATED
