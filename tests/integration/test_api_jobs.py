"""Jobs over HTTP: submitted, listed, read, waited for, cancelled, run again; once for each idempotency key."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.ids import short_id
from heliograph.wire import HistoryPage, JobView
from heliograph_api import waiting as waiting_module
from tests.parts.api import ADA, SUM, Api, open_api, problem
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def test_a_submission_is_answered_with_the_stored_job(api: Api) -> None:
    answer = await api.ada.post("/v1/jobs", json=SUM | {"name": "a sum", "group": "sums", "priority": -7})
    assert answer.status_code == httpx.codes.CREATED
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (await api.ada.get(answer.headers["location"])).json() == job
    view = JobView.model_validate(job)
    assert (view.state, view.owner, view.name, view.group, view.priority) == ("queued", ADA, "a sum", "sums", -7)
    assert (view.backend, view.parameters, view.seq, view.series, view.attempt) == ("sum", SUM["parameters"], 1, 1, 0)


async def test_the_end_of_an_id_finds_a_job_that_one_may_see(api: Api) -> None:
    job = await api.submit()
    short = short_id(job["id"])
    for who, end in ((api.ada, short), (api.ada, short.lower()), (api.client("mia@example.org", "job manager"), short)):
        assert (await who.get(f"/v1/jobs/{end}")).json()["id"] == job["id"]
    problem(await api.bob.get(f"/v1/jobs/{short}"), 404)
    problem(await api.bearer(None).get(f"/v1/jobs/{short}"), 401)
    problem(await api.ada.get("/v1/jobs/.......0"), 404)
    document = await api.jobs.find_one({"_id": job["id"]})
    assert document
    await api.jobs.insert_one(document | {"_id": f"00{job['id'][2:]}", "idempotency": None})
    assert "several" in problem(await api.ada.get(f"/v1/jobs/{short}"), 404)["detail"]
    await api.jobs.delete_one({"_id": f"00{job['id'][2:]}"})


@pytest.mark.parametrize(
    ("role", "is_taken"),
    [("admin", True), ("operator", True), ("queue manager", True), ("job manager", False), ("user", False)],
)
async def test_who_may_put_a_job_before_others(api: Api, role: str, is_taken: bool) -> None:
    caller = api.client("pia@example.org", role)
    for priority in (-1000, 0):
        assert (await api.submit(caller, priority=priority))["priority"] == priority
    answer = await caller.post("/v1/jobs", json=SUM | {"priority": 1})
    if is_taken:
        assert answer.status_code == httpx.codes.CREATED
    else:
        assert "admin, operator, queue manager" in problem(answer, 422, "priority")["detail"]


async def test_times_are_in_utc(api: Api) -> None:
    job = await api.submit(not_before="2040-01-31T12:00:00.123+02:00", start_before="2041-01-31T12:00:00-05:00")
    found = (await api.ada.get(f"/v1/jobs/{job['id']}")).json()
    assert found == job
    assert job["not_before"] == "2040-01-31T10:00:00.123000Z"
    assert job["start_before"] == "2041-01-31T17:00:00Z"
    assert job["created_at"].endswith("Z")


NAMES = ["$set", "a.b.c", "$$ROOT", "é", "𓂀 astral 🔭", "<b>&amp;", "%20", "'; drop", "\\u0000", "\u202eright to left"]


async def test_names_come_back_as_they_were_written(api: Api) -> None:
    for name in NAMES:
        job = await api.submit(name=name, group=name)
        found = (await api.ada.get(f"/v1/jobs/{job['id']}")).json()
        assert (found["name"], found["group"]) == (name, name)
        assert [each["id"] for each in (await api.ada.get("/v1/jobs", params={"name": name})).json()["items"]] == [
            job["id"]
        ]


async def test_parameters_come_back_as_they_were_written(api: Api) -> None:
    odd: dict[str, Any] = {name: [name, {name: None}] for name in [*NAMES, ""]}
    parameters = {"left": 1, **odd, "number": 1e-300, "text": "\u0000\u007f"}
    job = await api.submit(parameters=parameters)
    assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["parameters"] == parameters


async def test_a_list_goes_on_page_by_page_from_the_newest(api: Api) -> None:
    carol = api.client("carol@example.org")
    submitted = [(await api.submit(carol, name=f"number {number}"))["id"] for number in range(7)]
    listed: list[str] = []
    cursor: str | None = None
    for expected in (3, 3, 1):
        page = (await carol.get("/v1/jobs", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        assert len(page["items"]) == expected
        listed += [job["id"] for job in page["items"]]
        cursor = page["next"]
    assert cursor is None
    assert listed == submitted[::-1]


async def test_a_list_of_changes_goes_on_from_the_oldest_change(api: Api) -> None:
    dora = api.client("dora@example.org")
    first, second, third = [(await api.submit(dora))["id"] for _ in range(3)]
    await dora.post(f"/v1/jobs/{first}/cancel")
    since = {"updated_after": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(), "limit": "2"}
    page = (await dora.get("/v1/jobs", params=since)).json()
    rest = (await dora.get("/v1/jobs", params=since | {"cursor": page["next"]})).json()
    assert [job["id"] for job in page["items"] + rest["items"]] == [second, third, first]
    assert rest["next"] is None
    problem(await dora.get("/v1/jobs", params={"cursor": page["next"]}), 422, "cursor")  # another list's


async def test_a_list_is_filtered(api: Api) -> None:
    erin = api.client("erin@example.org")
    one = await api.submit(erin, name="one", group="g")
    two = await api.submit(erin, backend="async-sum", name="two", group="g")
    await erin.post(f"/v1/jobs/{two['id']}/cancel")

    async def found(**filters: Any) -> list[str]:
        items = (await erin.get("/v1/jobs", params=filters)).json()["items"]
        return [job["name"] for job in items]

    assert await found(group="g") == ["two", "one"]
    assert await found(name="one") == ["one"]
    assert await found(backend="async-sum") == await found(queue="async-sum") == ["two"]
    assert await found(state="cancelled") == ["two"]
    assert await found(state=["cancelled", "queued"]) == ["two", "one"]
    assert await found(created_after=one["created_at"], created_before=two["created_at"]) in (["one"], [])
    assert await found(created_before="2020-01-01T00:00:00Z") == []
    assert await found(group="$ne") == []


async def test_a_wait_returns_with_the_event(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "LOOK_CONNECTED_SECONDS", 60.0)  # the event alone wakes it
    job = await api.submit()
    await api.ada.get(f"/v1/jobs/{job['id']}", params={"wait": 0.01})
    await until(lambda: api.app.state.parts.waiting._feed)
    began = time.monotonic()
    waiting = asyncio.create_task(api.ada.get(f"/v1/jobs/{job['id']}", params={"wait": 25}))
    while not _waits(api, job["id"]):  # noqa: ASYNC110 - a wait announces itself to nobody
        await asyncio.sleep(0.01)
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await waiting).json()["state"] == "cancelled"
    assert time.monotonic() - began < 20  # the last look, at the end of the time, would find it too


async def test_a_wait_returns_when_its_time_is_over(api: Api) -> None:
    job = await api.submit()
    began = time.monotonic()
    answer = await api.ada.get(f"/v1/jobs/{job['id']}", params={"wait": 0.5})
    assert answer.json()["state"] == "queued"
    assert time.monotonic() - began >= 0.5
    assert not _waits(api, job["id"])


async def test_a_wait_for_a_state_that_it_is_in_returns_at_once(api: Api) -> None:
    job = await api.submit()
    began = time.monotonic()
    answer = await api.ada.get(f"/v1/jobs/{job['id']}", params={"wait": 20, "state": ["running", "queued"]})
    assert answer.json()["id"] == job["id"]
    assert time.monotonic() - began < 15


async def test_a_wait_ends_while_the_bus_is_away(mongodb_url: str) -> None:
    async with open_api(mongodb_url) as api:
        await api.bus.close()
        job = await api.submit()  # taken all the same
        assert (await api.ada.get("/readyz")).json() == {"status": "degraded", "mongodb": True, "bus": False}
        waiting = asyncio.create_task(api.ada.get(f"/v1/jobs/{job['id']}", params={"wait": 20}))
        await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
        began = time.monotonic()
        assert (await waiting).json()["state"] == "cancelled"
        assert time.monotonic() - began < 18
        assert api.told == []
        await api.bus.start()  # and what nobody was told of is told now
        await api.bus.subscribe_told(api.tell)
        async with asyncio.timeout(60):
            while [event.data.state for event in api.told] != ["queued", "cancelled"]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)


async def test_a_waiting_job_is_cancelled_at_once(api: Api) -> None:
    job = await api.submit()
    found = (await api.ada.post(f"/v1/jobs/{job['id']}/cancel")).json()
    assert (found["state"], found["error"]["kind"], found["cancel_requested"]) == ("cancelled", "cancelled", True)
    assert found["ended_at"]
    problem(await api.ada.post(f"/v1/jobs/{job['id']}/cancel"), 409)
    assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json() == found


async def test_a_job_that_is_over_is_run_again_as_a_new_series(api: Api) -> None:
    job = await api.submit()
    assert "queued" in problem(await api.ada.post(f"/v1/jobs/{job['id']}/retry"), 409)["detail"]
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
    again = (await api.ada.post(f"/v1/jobs/{job['id']}/retry")).json()
    assert (again["state"], again["series"], again["seq"], again["error"], again["ended_at"]) == (
        "queued", 2, 3, None, None,
    )  # fmt: skip
    assert not again["cancel_requested"]
    problem(await api.ada.post(f"/v1/jobs/{job['id']}/retry"), 409)


async def test_the_history_tells_every_change(api: Api) -> None:
    job = await api.submit()
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
    await api.ada.post(f"/v1/jobs/{job['id']}/retry")
    page = HistoryPage.model_validate((await api.ada.get(f"/v1/jobs/{job['id']}/history")).json())
    assert [(each.seq, each.series, each.state, each.by) for each in page.items] == [
        (1, 1, "queued", ADA), (2, 1, "cancelled", ADA), (3, 2, "queued", ADA),
    ]  # fmt: skip


async def test_a_finished_job_is_not_cancelled_and_one_at_work_not_retried(api: Api, tmp_path: Path) -> None:
    job = await api.submit()
    hanging = await api.submit(backend="hang", parameters={"file": str(tmp_path / "pid")})
    async with api.worker(tmp_path, "good:add", "bad:hang"):
        done = await api.over(job)
        assert (done["state"], done["result"], done["attempt"]) == ("done", {"total": 5}, 1)
        assert "done" in problem(await api.ada.post(f"/v1/jobs/{job['id']}/cancel"), 409)["detail"]
        running = await api.ada.get(f"/v1/jobs/{hanging['id']}", params={"wait": 20, "state": "running"})
        assert running.json()["state"] == "running"
        assert "running" in problem(await api.ada.post(f"/v1/jobs/{hanging['id']}/retry"), 409)["detail"]
        await api.ada.post(f"/v1/jobs/{hanging['id']}/cancel")
        assert (await api.over(hanging))["state"] == "cancelled"


async def test_a_repeated_key_gets_the_same_job(api: Api) -> None:
    key = {"Idempotency-Key": "the same"}
    first = await api.ada.post("/v1/jobs", json=SUM, headers=key)
    await api.ada.post(f"/v1/jobs/{first.json()['id']}/cancel")
    # Equal as JSON, though written in another order.
    again = await api.ada.post("/v1/jobs", json=dict(reversed(SUM.items())), headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["state"] == "cancelled"  # as it stands now
    assert again.headers["location"] == first.headers["location"]


async def test_a_key_used_for_another_body_is_refused(api: Api) -> None:
    key = {"Idempotency-Key": "reused"}
    await api.ada.post("/v1/jobs", json=SUM, headers=key)
    before = await api.stored()
    problem(await api.ada.post("/v1/jobs", json=SUM | {"name": "x"}, headers=key), 422, "Idempotency-Key")
    assert await api.stored() == before


async def test_a_key_belongs_to_its_owner(api: Api) -> None:
    key = {"Idempotency-Key": "shared"}
    one, other = [await who.post("/v1/jobs", json=SUM, headers=key) for who in (api.ada, api.bob)]
    assert (one.status_code, other.status_code) == (201, 201)
    assert one.json()["id"] != other.json()["id"]


async def test_a_key_whose_submission_was_refused_is_free(api: Api) -> None:
    key = {"Idempotency-Key": "refused first"}
    problem(await api.ada.post("/v1/jobs", json=SUM | {"priority": "x"}, headers=key), 422)
    assert (await api.ada.post("/v1/jobs", json=SUM, headers=key)).status_code == httpx.codes.CREATED


async def test_a_repeat_gets_its_job_also_when_its_backend_is_gone(api: Api) -> None:
    key = {"Idempotency-Key": "outlives its backend"}
    first = await api.ada.post("/v1/jobs", json=SUM, headers=key)
    admin = api.client("root@example.org", "admin")
    assert (await admin.delete(f"/v1/backends/{SUM['backend']}")).status_code == httpx.codes.NO_CONTENT
    try:
        problem(await api.ada.post("/v1/jobs", json=SUM), 422, "backend")
        again = await api.ada.post("/v1/jobs", json=SUM, headers=key)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        problem(await api.ada.post("/v1/jobs", json=SUM | {"name": "x"}, headers=key), 422, "backend")
    finally:
        await api.announce()


async def test_two_at_once_with_one_key_make_one_job(api: Api) -> None:
    for number in range(5):
        key = {"Idempotency-Key": f"at once {number}"}
        before = await api.stored()
        answers = await asyncio.gather(*(api.ada.post("/v1/jobs", json=SUM, headers=key) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert await api.stored() == before + 1


@pytest.mark.parametrize("key", ["", "k" * 256, "k" * 1001, "bell\x07", "caf\xe9\x80"])
async def test_a_key_of_nonsense_is_refused(api: Api, key: str) -> None:
    before = await api.stored()
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await api.ada.post("/v1/jobs", json=SUM, headers=headers)
    if answer.status_code == httpx.codes.BAD_REQUEST:
        assert key == "bell\x07"  # the HTTP parser's refusal
    else:
        problem(answer, 422)
    assert await api.stored() == before


def _waits(api: Api, job: str) -> bool:
    return ("job", job) in api.app.state.parts.waiting._waiters


async def test_a_wait_does_not_wait_for_the_feed_of_events(mongodb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api(mongodb_url) as api:

        async def never(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(api.bus, "subscribe_feed", never)
        job = await api.submit()
        assert (await api.ada.get(f"/v1/jobs/{job['id']}?wait=0.5")).json()["state"] == "queued"
        await assert_noticed(api, job)


async def test_a_wait_goes_on_where_the_feed_cannot_be_opened(
    mongodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("no feed")

    async with open_api(mongodb_url) as api:
        monkeypatch.setattr(api.bus, "subscribe_feed", fail)
        await assert_noticed(api, await api.submit())
        assert tries < 25  # at each look, not as fast as it fails


async def assert_noticed(api: Api, job: dict[str, Any]) -> None:
    """See a long wait answered before its end, by a look of its own."""
    waiting = asyncio.create_task(api.ada.get(f"/v1/jobs/{job['id']}?wait=25"))
    await until(lambda: api.app.state.parts.waiting._waiters)
    assert (await api.ada.post(f"/v1/jobs/{job['id']}/cancel")).status_code == httpx.codes.OK
    async with asyncio.timeout(20):
        assert (await waiting).json()["state"] == "cancelled"
