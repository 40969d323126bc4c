"""The ledger over the api: found, sent again, and tried."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.ids import new_id
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.indexes import CAMPAIGNS, DELIVERIES
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject, SubjectKind
from heliograph.notices.store import Ledger
from heliograph_api.reporting import MOST
from tests.parts.api import ADA, BOB, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/notices"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    for collection in (DELIVERIES, CAMPAIGNS, "bulletins", "allowances", "preferences"):
        await opened.database.collection(collection).delete_many({})
    return opened


@pytest_asyncio.fixture(loop_scope="module")
async def mia(api: Api) -> httpx.AsyncClient:
    return api.client("mia@example.org", "job manager")


async def kept(api: Api, subject: Subject | None = None, **fields: Any) -> Delivery:
    now = datetime.now(UTC)
    delivery = replace(
        Delivery(
            new_id(), subject or Subject.of_job(new_id()), Occasion.DONE, 1, 2, "email", ADA, DeliveryStatus.FAILED,
            "done: it ended", now, now,
        ),
        **fields,
    )  # fmt: skip
    assert await Ledger(api.database).insert([delivery])
    return delivery


async def listed(who: httpx.AsyncClient, **filters: str) -> list[str]:
    answer = await who.get(PATH, params=filters)
    assert answer.status_code == httpx.codes.OK, answer.text
    return [each["id"] for each in answer.json()["items"]]


async def test_notices_are_found_by_what_is_known_of_them(api: Api, mia: httpx.AsyncClient) -> None:
    failed = await kept(api)
    sent = await kept(api, status=DeliveryStatus.SENT, recipient=BOB)
    room = await kept(api, status=DeliveryStatus.SENT, channel="matrix", recipient="!dome:example.org")
    assert await listed(mia) == [room.id, sent.id, failed.id]
    assert await listed(mia, status="failed") == await listed(mia, state="failed") == [failed.id]
    assert await listed(mia, channel="matrix") == [room.id]
    assert await listed(mia, recipient=BOB, status="sent", state="sent") == [sent.id]
    assert await listed(mia, subject=str(failed.subject)) == [failed.id]
    problem(await mia.get(PATH, params={"status": "sent", "state": "failed"}), 422, "state")
    problem(await mia.get(PATH, params={"status": "lost"}), 422, "status")
    problem(await mia.get(PATH, params={"subject": "night"}), 422, "subject")
    problem(await api.ada.get(PATH), 403)


async def of_job(who: httpx.AsyncClient, job: str) -> list[str]:
    answer = await who.get(f"/v1/jobs/{job}/notices")
    assert answer.status_code == httpx.codes.OK, answer.text
    return [each["recipient"] for each in answer.json()["items"]]


async def test_an_owner_reads_where_they_are_told_and_of_others_that_they_are(api: Api, mia: httpx.AsyncClient) -> None:
    """Not where operators get copies, who watches, and what these have muted."""
    recipients = [{"channel": "email", "recipient": "grace@example.org"}]
    job = await api.submit(mia, notify={"recipients": recipients})
    about = Subject.of_job(job["id"])
    await kept(api, about, recipient="!hers:example.org", channel="matrix", person="mia@example.org")
    await kept(
        api, about, recipient="grace@example.org", person="grace", origin="watch",
        status=DeliveryStatus.SUPPRESSED, reason="muted: everything, by a link", receipt="250 for Grace",
    )  # fmt: skip
    await kept(api, about, recipient="mia@example.org")
    await kept(api, about, recipient="ops@example.org", origin="operator")
    await kept(
        api, about, recipient=BOB, person=BOB, origin="watch", status=DeliveryStatus.SUPPRESSED,
        reason=f"muted: everything, by {BOB}",
    )  # fmt: skip
    everything = ["!hers:example.org", "grace@example.org", "mia@example.org", "ops@example.org", BOB]
    assert await of_job(mia, job["id"]) == everything  # she may see everybody's jobs
    plain = api.client("mia@example.org")
    assert await of_job(plain, job["id"]) == [*everything[:3], "operators", "watchers"]
    told = await plain.get(f"/v1/jobs/{job['id']}/notices")
    assert "ops@" not in told.text
    assert BOB not in told.text
    assert "muted" not in told.text
    assert "Grace" not in told.text
    named = told.json()["items"][1]
    assert (named["recipient"], named["reason"]) == (everything[1], "others: decided by wishes of their own")


async def test_an_owner_reads_what_became_of_their_groups_notices(api: Api, mia: httpx.AsyncClient) -> None:
    campaigns = [{"_id": new_id(), "owner": owner, "group": group} for owner, group in
                 ((ADA, "night"), (ADA, "night"), (BOB, "night"), (ADA, "day"))]  # fmt: skip
    await api.database.collection(CAMPAIGNS).insert_many(campaigns)
    first, second, bobs, day = [
        await kept(api, Subject(SubjectKind.GROUP, each["_id"]), occasion=Occasion.DIGEST, recipient=each["owner"])
        for each in campaigns
    ]
    to_operators: dict[str, Any] = {"recipient": "ops@example.org", "origin": "operator"}
    copy = await kept(api, second.subject, occasion=Occasion.DIGEST, **to_operators)
    answer = (await api.ada.get(PATH, params={"group": "night"})).json()["items"]
    told = [(each["id"], each["recipient"]) for each in answer]
    assert told == [(copy.id, "operators"), (second.id, ADA), (first.id, ADA)]
    # Nor is an address found out by asking for it.
    assert await listed(api.ada, group="night", recipient="ops@example.org") == []
    assert await listed(api.ada, group="night", recipient="operators") == [copy.id]
    assert await listed(api.ada, group="night", recipient=ADA) == [second.id, first.id]
    assert await listed(api.ada, group="day", status="failed") == [day.id]
    assert await listed(api.bob, group="night") == [bobs.id]
    assert await listed(mia, group="night") == []
    problem(await mia.get(PATH, params={"group": "night", "subject": "group:1"}), 422, "group")


async def test_an_administrator_has_a_notice_sent_again(api: Api, mia: httpx.AsyncClient) -> None:
    failed = await kept(api)
    for who in (api.ada, mia, api.client("olga@example.org", "operator")):
        problem(await who.post(f"{PATH}/{failed.id}/resend"), 403)
    admin = api.client("root@example.org", "admin")
    answer = await admin.post(f"{PATH}/{failed.id}/resend")
    assert answer.status_code == httpx.codes.CREATED
    copy = answer.json()
    assert (copy["status"], copy["copy_number"], copy["recipient"]) == ("planned", 1, ADA)
    assert "root@example.org" in copy["reason"]
    problem(await admin.post(f"{PATH}/{copy['id']}/resend"), 409)  # it is still to be sent
    problem(await admin.post(f"{PATH}/none/resend"), 404)


async def test_an_owner_does_not_read_which_administrator_had_a_notice_sent_again(api: Api) -> None:
    job = await api.submit()
    failed = await kept(api, Subject.of_job(job["id"]))
    admin = api.client("root@example.org", "admin")
    assert (await admin.post(f"{PATH}/{failed.id}/resend")).status_code == httpx.codes.CREATED
    path = f"/v1/jobs/{job['id']}/notices"
    assert "root@example.org" in (await admin.get(path)).text
    seen = await api.ada.get(path)
    assert [(each["recipient"], each["copy_number"]) for each in seen.json()["items"]] == [(ADA, 0), (ADA, 1)]
    assert "root@" not in seen.text


async def tried(who: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await who.post(f"{PATH}/test", json=fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    made = dict(answer.json())
    assert made["subject"] == f"test:{made['id']}"
    return made


async def test_a_test_goes_where_the_person_is_told(api: Api) -> None:
    ada = api.client(ADA, mxroomid="!dome:example.org", zoneinfo="Europe/Zurich")
    await tried(ada)
    await tried(ada, channel="matrix")
    await tried(ada, channel="email", recipient=ADA)
    found = await BulletinStore(api.database).unplanned()
    both = [("email", ADA), ("matrix", "!dome:example.org")]
    assert [[(wish.channel, wish.recipient) for wish in each.wishes] for each in found] == [both, both[1:], both[:1]]
    assert {(each.kind, each.by, each.time_zone) for each in found} == {(SubjectKind.TEST, ADA, "Europe/Zurich")}
    assert {wish.person for each in found for wish in each.wishes} == {ADA}


async def test_a_test_to_others_takes_a_role(api: Api, mia: httpx.AsyncClient) -> None:
    problem(await api.ada.post(f"{PATH}/test", json={"channel": "email", "recipient": BOB}), 422, "recipient")
    problem(await api.ada.post(f"{PATH}/test", json={"recipient": ADA}), 422, "")
    problem(await api.ada.post(f"{PATH}/test", json={"channel": "matrix"}), 422, "channel")
    problem(await mia.post(f"{PATH}/test", json={"channel": "email", "recipient": "bob"}), 422, "recipient")
    await tried(mia, channel="apprise", recipient="tgram://night")
    (found,) = await BulletinStore(api.database).unplanned()
    assert [(wish.recipient, wish.person) for wish in found.wishes] == [("tgram://night", None)]


async def test_what_became_of_a_test_is_told_to_who_made_it(api: Api, mia: httpx.AsyncClient) -> None:
    test = (await tried(api.ada))["id"]
    path = f"{PATH}/test/{test}"
    assert (await api.ada.get(path)).json() == {"id": test, "planned": False, "items": []}
    delivery = await kept(api, Subject(SubjectKind.TEST, test), occasion=Occasion.TEST, status=DeliveryStatus.SENT)
    await BulletinStore(api.database).settle(test)
    for who in (api.ada, mia):
        found = (await who.get(path)).json()
        assert found["planned"]
        assert [each["id"] for each in found["items"]] == [delivery.id]
    problem(await api.bob.get(path), 404)
    problem(await api.ada.get(f"{PATH}/test/none"), 404)
    incident = (await api.ada.post("/v1/incidents", json={"text": "x"})).json()["id"]
    problem(await api.ada.get(f"{PATH}/test/{incident}"), 404)
    problem(await api.ada.get(f"/v1/incidents/{test}"), 404)


async def test_one_person_tests_so_often_in_an_hour(api: Api) -> None:
    for _ in range(MOST):
        await tried(api.ada)
    problem(await api.ada.post(f"{PATH}/test", json={}), 429)
    assert (await api.ada.post("/v1/incidents", json={"text": "and a report is another thing"})).is_success
