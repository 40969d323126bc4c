"""Reports of problems: by whoever holds a token, or a link in a notice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.ids import new_id, short_id
from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.links import REPORT_LASTS, report_token
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject, SubjectKind
from heliograph.notices.store import Ledger
from heliograph.wire.bulletins import IncidentDetail
from heliograph_api.reporting import MOST
from tests.parts.api import ADA, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/incidents"
LINK_KEY = "a key that signs links of these tests, and nothing else"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=(LINK_KEY,)) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    for collection in ("bulletins", "allowances", "notice_channels"):
        await opened.database.collection(collection).delete_many({})
    return opened


@pytest_asyncio.fixture(loop_scope="module")
async def mia(api: Api) -> httpx.AsyncClient:
    return api.client("mia@example.org", "job manager")


async def reported(who: httpx.AsyncClient, text: str = "The dome opened in the rain.", **fields: Any) -> dict[str, Any]:
    answer = await who.post(PATH, json={"text": text} | fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
    return dict(answer.json())


async def test_a_report_waits_for_a_notifier_and_is_kept_for_two_years(api: Api) -> None:
    job = await api.submit()
    made = await reported(api.ada, title="Rain", job=job["id"], occurred_at="2026-01-31T20:00:00+01:00")
    (waiting,) = await BulletinStore(api.database).unplanned()
    assert (waiting.id, waiting.kind, waiting.by, waiting.job) == (made["id"], SubjectKind.INCIDENT, ADA, job["id"])
    assert (waiting.title, waiting.text) == ("Rain", "The dome opened in the rain.")
    assert waiting.occurred_at == datetime(2026, 1, 31, 19, tzinfo=UTC)
    stored = await api.database.collection("bulletins").find_one({"_id": made["id"]})
    assert stored
    assert stored["expires_at"] - datetime.now(UTC) > timedelta(days=729)


@pytest.mark.parametrize(
    ("recipients", "told", "words"),
    [(1, True, "The operators are told."), (0, False, "It is kept."), (None, None, "It is kept.")],
)
async def test_it_says_whether_anybody_is_told(api: Api, recipients: int | None, told: bool | None, words: str) -> None:
    if recipients is not None:
        await AnnouncedChannels(api.database).announce({}, incidents=recipients)
    assert (await reported(api.ada))["told"] is told
    assert words in (await api.bearer(None).post(link(new_id()), data={"text": "no stars"})).text


async def test_a_report_is_listed_for_some_and_read_by_who_made_it(api: Api, mia: httpx.AsyncClient) -> None:
    ids = [(await reported(api.ada, f"number {number}"))["id"] for number in range(3)]
    own = (await reported(api.bob, "of somebody else"))["id"]
    assert [each["id"] for each in (await api.ada.get(PATH)).json()["items"]] == ids[::-1]
    assert [each["id"] for each in (await api.bob.get(PATH)).json()["items"]] == [own]
    await api.database.collection("bulletins").delete_one({"_id": own})
    problem(await api.bearer(None).get(PATH), 401)
    first = (await mia.get(PATH, params={"limit": 2})).json()
    second = (await mia.get(PATH, params={"limit": 2, "cursor": first["next"]})).json()
    assert [each["id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    now = datetime.now(UTC)
    told = Delivery(
        new_id(), Subject(SubjectKind.INCIDENT, ids[0]), Occasion.INCIDENT, 1, 1, "email", "ops@example.org",
        DeliveryStatus.PLANNED, "incident: reports go to the operators", now, now,
    )  # fmt: skip
    assert await Ledger(api.database).insert([told])
    tried = {"at": now, "outcome": "refused", "reply": "550 5.1.1 <ops@example.org> is unknown"}
    await api.database.collection(DELIVERIES).update_one({"_id": told.id}, {"$set": {"attempts": [tried]}})
    for who, recipient in ((api.ada, "operators"), (mia, "ops@example.org")):
        answer = await who.get(f"{PATH}/{ids[0]}")
        found = IncidentDetail.model_validate(answer.json())
        assert found.text == "number 0"
        assert [(each.recipient, each.channel, each.reason) for each in found.notices] == [
            (recipient, "email", "incident: reports go to the operators")
        ]
        assert [attempt.outcome for each in found.notices for attempt in each.attempts] == ["refused"]
        assert ("ops@" in answer.text) is (who is mia)
    problem(await api.bob.get(f"{PATH}/{ids[0]}"), 404)
    problem(await mia.get(f"{PATH}/none"), 404)


async def test_a_report_is_found_by_its_short_number_by_those_who_may_read_it(api: Api, mia: httpx.AsyncClient) -> None:
    job = await api.submit()
    assert (await api.bearer(None).post(link(job["id"]), data={"text": "by the link of a mail"})).is_success
    (made,) = (await api.client("ada", email=ADA).get(PATH)).json()["items"]  # whose token names the address
    assert (made["by"], made["text"]) == (ADA, "by the link of a mail")
    for who in (api.ada, api.client("ada", email=ADA), mia):
        for number in (short_id(made["id"]), short_id(made["id"]).lower(), made["id"]):
            assert (await who.get(f"{PATH}/{number}")).json()["text"] == "by the link of a mail"
    for who in (api.bob, api.client("ada", email=ADA, email_verified=False)):
        problem(await who.get(f"{PATH}/{short_id(made['id'])}"), 404)
        assert (await who.get(PATH)).json()["items"] == []
    twin = await reported(api.ada, "a twin")
    found = await api.database.collection("bulletins").find_one({"_id": twin["id"]})
    assert found
    await api.database.collection("bulletins").insert_one(found | {"_id": f"00{made['id'][2:]}"})
    assert "several" in problem(await api.ada.get(f"{PATH}/{short_id(made['id'])}"), 404)["detail"]
    test = (await api.ada.post("/v1/notices/test", json={"channel": "email"})).json()["id"]
    problem(await api.ada.get(f"{PATH}/{short_id(test)}"), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"text": " \n "}, "text"), ({"text": "x" * 20_001}, "text"), ({}, "text"), ({"text": "a\u0007b"}, "text"),
     ({"text": "x", "title": "a\nb"}, "title"), ({"text": "x", "occurred_at": "2099-01-01T00:00:00Z"}, "occurred_at"),
     ({"text": "x", "occurred_at": "yesterday"}, "occurred_at"), ({"text": "x", "to": ADA}, "to")],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
async def test_a_report_that_says_nothing_is_refused(api: Api, body: dict[str, Any], field: str) -> None:
    problem(await api.ada.post(PATH, json=body), 422, field)
    assert await BulletinStore(api.database).unplanned() == []


async def test_a_report_is_about_a_job_that_one_may_see(api: Api, mia: httpx.AsyncClient) -> None:
    job = await api.submit(api.bob)
    problem(await api.ada.post(PATH, json={"text": "x", "job": job["id"]}), 404)
    await reported(mia, job=job["id"])
    problem(await api.bearer(None).post(PATH, json={"text": "x"}), 401)


async def test_one_person_reports_so_often_in_an_hour_also_at_once(api: Api) -> None:
    answers = await asyncio.gather(*(api.ada.post(PATH, json={"text": str(number)}) for number in range(MOST + 10)))
    assert sorted(answer.status_code for answer in answers) == [201] * MOST + [429] * 10
    problem(await api.ada.post(PATH, json={"text": "one more"}), 429)
    assert len(await BulletinStore(api.database).unplanned()) == MOST
    await reported(api.bob)  # whom that does not touch


async def test_an_allowance_comes_back_with_time(api: Api) -> None:
    take = api.app.state.parts.allowances.take
    hour = timedelta(hours=1)
    assert [await take("x", 2, hour) for _ in range(3)] == [True, True, False]
    kept = api.database.collection("allowances")
    await kept.update_one({"_id": "x"}, {"$set": {"times.0": datetime.now(UTC) - hour}})
    assert [await take("x", 2, hour) for _ in range(2)] == [True, False]


def link(job: str, recipient: str = ADA, at: datetime | None = None) -> str:
    return f"/v1/report/{report_token([LINK_KEY], job, recipient, at or datetime.now(UTC))}"


async def test_a_link_in_a_notice_shows_a_form_and_passes_on_what_it_is_filled_with(api: Api) -> None:
    job = new_id()
    stranger = api.bearer(None)
    asked = await stranger.get(link(job))
    assert asked.status_code == httpx.codes.OK
    assert asked.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in asked.headers["content-security-policy"]
    assert (asked.headers["cache-control"], asked.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert short_id(job) in asked.text
    assert ADA not in asked.text  # a link that was passed on names nobody
    assert await BulletinStore(api.database).unplanned() == []
    thanks = await stranger.post(link(job), data={"text": "It ran <b>twice</b>.\r\nReally.\x07"})
    assert thanks.status_code == httpx.codes.OK
    assert "Thank you" in thanks.text
    (waiting,) = await BulletinStore(api.database).unplanned()
    assert (waiting.by, waiting.job, waiting.text) == (ADA, job, "It ran <b>twice</b>.\nReally.")


async def test_a_form_that_is_not_filled_is_shown_again(api: Api) -> None:
    stranger = api.bearer(None)
    path = link(new_id())
    for filled in ({}, {"text": "  "}):
        answer = await stranger.post(path, data=filled)
        assert answer.status_code == 422
        assert "Say in a few words" in answer.text
    answer = await stranger.post(path, data={"text": "</textarea><script>" + "x" * 20_000})
    assert answer.status_code == 422
    assert "&lt;/textarea&gt;&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text
    assert (await stranger.post(path, data={"text": "x" * 300_000})).status_code == 413
    many = "&".join(f"f{number}=" for number in range(50))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await stranger.post(path, content=many, headers=headers)).status_code == 422
    assert await BulletinStore(api.database).unplanned() == []


async def test_a_link_reports_so_often_in_an_hour(api: Api) -> None:
    job = new_id()
    stranger = api.bearer(None)
    paths = [link(job), link(job, at=datetime.now(UTC) - timedelta(days=1))]  # of two notices about the same job
    answers = [await stranger.post(paths[number % 2], data={"text": "x"}) for number in range(MOST + 1)]
    assert [answer.status_code for answer in answers] == [200] * MOST + [429]
    assert "Not so often" in answers[-1].text


async def test_a_link_that_does_not_hold_is_refused_with_a_page(api: Api) -> None:
    stranger = api.bearer(None)
    old = link(new_id(), at=datetime.now(UTC) - REPORT_LASTS - timedelta(minutes=1))
    for path in (old, link(new_id())[:-3] + "abc", "/v1/report/forged"):
        for method in ("GET", "POST"):
            refused = await stranger.request(method, path)
            assert refused.status_code == httpx.codes.FORBIDDEN
            assert refused.headers["content-type"].startswith("text/html")
            assert "This link does not work" in refused.text
