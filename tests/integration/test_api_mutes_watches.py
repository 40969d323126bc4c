"""What people hear no more of, and what they are told of besides their own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.watches import WatchStore
from heliograph.wire.silence import MuteView, WatchView
from heliograph_api.routes import mutes, watches
from tests.parts.api import ADA, BOB, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    for collection in ("mutes", "watches", "notice_channels"):
        await opened.database.collection(collection).delete_many({})
    return opened


async def made(who: httpx.AsyncClient, what: str, **fields: Any) -> dict[str, Any]:
    answer = await who.post(f"/v1/{what}", json=fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


async def items(who: httpx.AsyncClient, what: str) -> list[dict[str, Any]]:
    return list((await who.get(f"/v1/{what}")).json()["items"])


async def silences(api: Api, *, channel: str = "email", job: str | None = None, group: str | None = None) -> bool:
    """Say whether what Ada has muted silences a notice to her."""
    found = await MuteStore(api.database).touching([ADA], [])
    about = (ADA, group) if group else None
    return any(
        each.holds(person=ADA, channel=channel, recipient=ADA, job=job, group=about, at=datetime.now(UTC))
        for each in found
    )


async def test_a_job_a_group_or_everything_is_muted(api: Api) -> None:
    job = await api.submit(group="night")
    view = MuteView.model_validate(await made(api.ada, "mutes", job=job["id"]))
    assert (view.scope, view.job, view.until, view.made_by) == ("job", job["id"], None, "a request to the api")
    assert await silences(api, job=job["id"])
    assert not await silences(api, job="another", group="night")
    view = MuteView.model_validate(await made(api.ada, "mutes", group="night", seconds=3600))
    assert (view.group, view.owner) == ("night", ADA)
    assert view.until is not None
    assert timedelta(minutes=59) < view.until - datetime.now(UTC) <= timedelta(hours=1)
    assert await silences(api, group="night")
    assert not await silences(api, group="day")
    await made(api.ada, "mutes")
    assert await silences(api)
    assert [each["scope"] for each in await items(api.ada, "mutes")] == ["all", "group", "job"]
    assert await items(api.bob, "mutes") == []


async def test_one_channel_is_muted_and_the_others_are_not(api: Api) -> None:
    await made(api.ada, "mutes", channel="email")
    assert await silences(api)
    assert not await silences(api, channel="matrix")


async def test_a_channel_that_nobody_sends_over_cannot_be_muted(api: Api) -> None:
    await AnnouncedChannels(api.database).announce({"email": None, "matrix": "@bot:example.org"}, incidents=0)
    assert (
        "email, matrix"
        in problem(await api.ada.post("/v1/mutes", json={"channel": "pigeon"}), 422, "channel")["detail"]
    )
    await made(api.ada, "mutes", channel="email")


async def test_a_mute_that_is_over_is_not_listed(api: Api) -> None:
    over = await made(api.ada, "mutes", seconds=3600)
    await made(api.ada, "mutes", group="night", seconds=3600)
    past = {"until": datetime.now(UTC) - timedelta(seconds=1)}
    await api.database.collection("mutes").update_one({"_id": over["id"]}, {"$set": past})
    assert [each["group"] for each in await items(api.ada, "mutes")] == ["night"]


async def test_only_what_one_may_see_can_be_muted(api: Api) -> None:
    job = await api.submit(api.bob)
    problem(await api.ada.post("/v1/mutes", json={"job": job["id"]}), 404)
    await made(api.client("mia@example.org", "job manager"), "mutes", job=job["id"])


async def test_a_mute_is_removed_by_whose_it_is(api: Api) -> None:
    mute = await made(api.ada, "mutes")
    problem(await api.bob.delete(f"/v1/mutes/{mute['id']}"), 404)
    assert (await api.ada.delete(f"/v1/mutes/{mute['id']}")).status_code == httpx.codes.NO_CONTENT
    problem(await api.ada.delete(f"/v1/mutes/{mute['id']}"), 404)
    assert not await silences(api)


async def test_what_a_link_has_stopped_is_listed_and_undone_by_whose_address_it_is(api: Api) -> None:
    now = datetime.now(UTC)
    stopped = Mute("link-1", MuteScope.ALL, "an unsubscribe link", now, channel="email", recipient=ADA)
    await MuteStore(api.database).add(stopped)
    (found,) = await items(api.ada, "mutes")
    assert (found["recipient"], found["made_by"]) == (ADA, "an unsubscribe link")
    assert await items(api.bob, "mutes") == []
    problem(await api.bob.delete("/v1/mutes/link-1"), 404)
    assert (await api.ada.delete("/v1/mutes/link-1")).status_code == httpx.codes.NO_CONTENT


@pytest.mark.parametrize(
    ("body", "field"),
    [({"job": "a", "group": "b"}, ""), ({"owner": ADA}, ""), ({"until": "2030-01-01T00:00:00Z", "seconds": 5}, ""),
     ({"until": "2020-01-01T00:00:00Z"}, "until"), ({"seconds": 0}, "seconds"), ({"channel": "E-mail"}, "channel"),
     ({"jobs": "a"}, "jobs"), ({"group": "a\u0000b"}, "group")],
)  # fmt: skip
async def test_a_mute_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any], field: str) -> None:
    problem(await api.ada.post("/v1/mutes", json=body), 422, field)
    assert await items(api.ada, "mutes") == []


async def test_a_person_has_so_many_mutes_and_watches(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutes, "MOST_MUTES", 1)
    monkeypatch.setattr(watches, "MOST_WATCHES", 1)
    for what in ("mutes", "watches"):
        await made(api.ada, what, group="g")
        problem(await api.ada.post(f"/v1/{what}", json={"group": "g"}), 409)


async def test_a_group_is_watched_for_ones_own_jobs(api: Api) -> None:
    view = WatchView.model_validate(await made(api.ada, "watches", group="night", email={"submitted": False}))
    assert (view.group, view.queue, view.owner, view.wishes) == ("night", None, ADA, {"email": {"submitted": False}})
    (watch,) = await WatchStore(api.database).over([], ["night"])
    assert (watch.person, watch.owner) == (ADA, ADA)
    assert [wish.recipient for wish in watch.claimed if wish.channel == "email"] == [ADA]
    assert await items(api.ada, "watches") == [view.model_dump(mode="json")]
    assert await items(api.bob, "watches") == []


async def test_everybodys_jobs_are_watched_by_those_who_may_see_them(api: Api) -> None:
    mia = api.client("mia@example.org", "job manager")
    manager = api.client("queues@example.org", "queue manager")
    assert (await manager.put("/v1/queues/dome", json={})).is_success
    for body in ({"backend": "sum"}, {"queue": "dome"}):
        problem(await api.ada.post("/v1/watches", json=body), 403)
        view = await made(mia, "watches", **body)
        assert (view["queue"], view["owner"]) == (*body.values(), None)
    assert (await made(mia, "watches", group="night"))["owner"] is None
    problem(await mia.post("/v1/watches", json={"queue": "domes"}), 422, "queue")
    problem(await mia.post("/v1/watches", json={"backend": "sums"}), 422, "backend")
    problem(await mia.post("/v1/watches", json={"backend": "sum", "group": "night"}), 422, "")
    problem(await mia.post("/v1/watches", json={}), 422, "")
    problem(await mia.post("/v1/watches", json={"group": "g", "email": {"recipient": BOB}}), 422, "email.recipient")


async def test_a_watch_takes_somewhere_to_tell_of_it(api: Api) -> None:
    nobody = api.client("just-a-name")
    problem(await nobody.post("/v1/watches", json={"group": "night"}), 422, "")
    assert (await nobody.patch("/v1/me/notifications", json={"email": {"failed": True}})).is_success
    problem(await nobody.post("/v1/watches", json={"group": "night"}), 422, "")
    named = api.client("just-a-name", email="name@example.org")
    await made(named, "watches", group="night")


async def test_a_watch_is_removed_by_whose_it_is(api: Api) -> None:
    watch = await made(api.ada, "watches", group="night")
    problem(await api.bob.delete(f"/v1/watches/{watch['id']}"), 404)
    assert (await api.ada.delete(f"/v1/watches/{watch['id']}")).status_code == httpx.codes.NO_CONTENT
    problem(await api.ada.delete(f"/v1/watches/{watch['id']}"), 404)


async def test_a_watch_that_outlives_its_makers_role_is_removed_by_an_operator(api: Api) -> None:
    watch = await made(api.client("mia@example.org", "job manager"), "watches", group="night")
    operator = api.client("olga@example.org", "operator")
    path = "/v1/watches?person=mia@example.org"
    problem(await api.ada.get(path), 403)
    assert [each["id"] for each in (await api.client("mia@example.org").get(path)).json()["items"]] == [watch["id"]]
    (seen,) = (await operator.get(path)).json()["items"]
    assert (seen["person"], seen["owner"]) == ("mia@example.org", None)
    assert await items(operator, "watches") == []
    assert (await operator.delete(f"/v1/watches/{watch['id']}")).status_code == httpx.codes.NO_CONTENT
    assert await WatchStore(api.database).over([], ["night"]) == []


async def test_nobody_mutes_or_watches_without_a_persons_token(api: Api) -> None:
    for what in ("mutes", "watches"):
        for method in ("GET", "POST"):
            problem(await api.bearer(None).request(method, f"/v1/{what}"), 401)
        problem(await api.bearer(None).delete(f"/v1/{what}/1"), 401)
