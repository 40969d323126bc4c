"""Agents over HTTP: each job goes to one of them, its reports count while it holds the lease, and no longer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
import pytest_asyncio

from heliograph.bus.port import Subscription
from heliograph.events.model import JobEvent
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentStore
from heliograph.jobs.store.agents import Report
from heliograph.jobs.store.claims import Finish, Progress
from heliograph_api import waiting
from tests.parts.api import ADA, Api, open_api, problem
from tests.parts.queues import MANAGER, ok, open_queue
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def stored(api: Api, job: str) -> bytes:
    """Return a job's document to the byte, once what it has to tell is told."""

    async def is_told() -> bool:
        return not (await api.jobs.find_one({"_id": job}))["outbox"]  # type: ignore[index]  # it is there

    await until(is_told, within_seconds=4)  # what nobody is nudged about is told after 5 s
    return bson.encode(await api.jobs.find_one({"_id": job}))  # type: ignore[arg-type]  # as above


async def story(api: Api, job: str) -> list[tuple[str, str]]:
    history = ok(await api.ada.get(f"/v1/jobs/{job}/history"))["items"]
    return [(each["state"], each["by"]) for each in history]


async def test_a_claim_hands_out_the_next_job(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=60)
    await queue.submit(name="later")
    await queue.submit(queue.manager, name="urgent", priority=5)
    before = datetime.now(UTC) - timedelta(seconds=5)
    [item] = await queue.claim(agent="dome-1")
    job = item["job"]
    assert (job["name"], job["state"], job["attempt"], job["started_at"]) == ("urgent", "claimed", 1, None)
    assert before + timedelta(seconds=60) < datetime.fromisoformat(item["lease_until"])
    assert item["lease_token"] not in str(ok(await queue.manager.get(queue.path)))
    assert [item["job"]["name"] for item in await queue.claim(max=100)] == ["later"]
    assert await queue.claim() == []
    agent = ok(await queue.agents.get("/v1/me"))["subject"]
    items = ok(await queue.agents.get(f"/v1/jobs/{job['id']}/history"))["items"]
    assert items[-1]["by"] == f"{agent}/dome-1"


async def test_an_agent_may_ask_for_another_lease(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None)
    await queue.submit()
    await queue.submit()
    assert [item["lease_until"] for item in await queue.claim()] == [None]
    assert [item["lease_until"] is not None for item in await queue.claim(lease_seconds=30)] == [True]


async def test_eight_agents_take_each_of_5000_jobs_exactly_once(api: Api) -> None:
    queue = await open_queue(api)
    jobs = await queue.fill(5000)

    async def drain(agent: str) -> list[str]:
        taken: list[str] = []
        while items := await queue.claim(agent=agent, max=100):
            taken += [item["job"]["id"] for item in items]
        return taken

    taken = await asyncio.gather(*(drain(f"agent-{number}") for number in range(8)))
    assert Counter(job for some in taken for job in some) == Counter(jobs)
    assert all(taken)
    found = await queue.read()
    assert (found["queued"], found["claimed"]) == (0, 5000)


async def test_a_limit_holds_over_all_agents(api: Api) -> None:
    queue = await open_queue(api, limits={"total": 3, "per_owner": 2})
    for _ in range(4):
        await queue.submit()
    for _ in range(2):
        await queue.submit(api.bob)
    claims = await asyncio.gather(*(queue.claim(max=2, agent=str(number)) for number in range(4)))
    held = [item for items in claims for item in items]
    assert Counter(item["job"]["owner"] for item in held) == {ADA: 2, "bob@example.org": 1}
    ok(await queue.tell(held[0]["job"]["id"], held[0]["lease_token"], state="done"))
    assert len(await queue.claim(max=10)) == 1


async def test_one_that_is_no_longer_wanted_is_ended_and_not_handed_out(api: Api) -> None:
    queue = await open_queue(api)
    wanted, wished, late = [await queue.submit() for _ in range(3)]
    await api.jobs.update_one({"_id": wished["id"]}, {"$set": {"cancel_requested": True}})
    past = {"start_before": datetime.now(UTC) - timedelta(seconds=1)}
    await api.jobs.update_one({"_id": late["id"]}, {"$set": past})
    assert [item["job"]["id"] for item in await queue.claim(max=10)] == [wanted["id"]]
    for job in (wished, late):
        assert (await queue.job(job["id"]))["state"] == "cancelled"
        await stored(api, job["id"])  # its event is out


async def test_a_waiting_agent_gets_what_comes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_QUEUE_SECONDS", 60.0)  # the event alone wakes it
    parts = api.app.state.parts
    queue = await open_queue(api)
    await queue.claim(wait=0.01)
    await until(lambda: parts.waiting._feed)
    looks: list[int] = []
    look = parts.agents.claim

    async def counted(*asked: Any) -> Any:
        found = await look(*asked)
        looks.append(len(found))
        return found

    monkeypatch.setattr(parts.agents, "claim", counted)
    claim = asyncio.create_task(queue.claim(wait=10))
    await until(lambda: looks)
    began = asyncio.get_running_loop().time()
    job = await queue.submit()
    assert [item["job"]["id"] for item in await claim] == [job["id"]]
    assert asyncio.get_running_loop().time() - began < 5  # the last look, at the end of the time, would find it too


async def test_a_waiting_agent_gets_what_becomes_due(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event tells of that."""
    monkeypatch.setattr(waiting, "LOOK_QUEUE_SECONDS", 0.1)
    queue = await open_queue(api)
    later = await queue.submit(not_before=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    claim = asyncio.create_task(queue.claim(wait=20))
    await until(lambda: ("queue", queue.name) in api.app.state.parts.waiting._waiters)
    await api.jobs.update_one({"_id": later["id"]}, {"$set": {"due": True}})
    assert [item["job"]["id"] for item in await claim] == [later["id"]]


async def test_a_wait_in_the_query_counts_as_well_and_ends(api: Api) -> None:
    queue = await open_queue(api)
    assert ok(await queue.agents.post(f"{queue.path}/claim", params={"wait": 0.2}, json={"agent": "a"})) == {
        "items": []
    }


async def test_nothing_is_claimed_for_an_agent_that_has_gone(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None)
    impatient = api.bearer(queue.agents.headers["authorization"].removeprefix("Bearer "))
    asked = {"agent": "impatient", "wait": 50}
    claim = asyncio.create_task(impatient.post(f"{queue.path}/claim", json=asked))
    key = ("queue", queue.name)
    await until(lambda: key in api.app.state.parts.waiting._waiters)
    claim.cancel()
    await asyncio.wait({claim})
    await impatient.aclose()
    job = await queue.submit()
    await until(lambda: key not in api.app.state.parts.waiting._waiters)
    assert (await queue.job(job["id"]))["state"] == "queued"


async def test_a_claim_sent_again_gets_the_jobs_that_are_still_held(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    for _ in range(6):
        await queue.submit()
    first = await queue.claim(key="night 1", max=3)
    assert await queue.claim(key="night 1", max=3) == first
    ok(await queue.tell(first[1]["job"]["id"], first[1]["lease_token"], state="done"))
    ok(await queue.manager.post(f"{queue.path}/pause"))
    again = await queue.claim(key="night 1", max=3)
    assert [item["lease_token"] for item in again] == [first[0]["lease_token"], first[2]["lease_token"]]
    ok(await queue.manager.post(f"{queue.path}/resume"))
    others = [
        *await queue.claim(key="night 2"), *await queue.claim(key="night 1", agent="dome-2"), *await queue.claim()
    ]  # fmt: skip
    assert len({item["job"]["id"] for item in [*first, *others]}) == 6
    problem(await queue.agents.post(f"{queue.path}/claim", json={"agent": "a"}, headers={"Idempotency-Key": ""}), 422)


async def test_claims_under_one_key_at_the_same_time_are_one(api: Api) -> None:
    for limits in ({}, {"total": 10}):
        queue = await open_queue(api, lease_seconds=None, limits=limits)
        await queue.fill(20)
        claims = await asyncio.gather(*(queue.claim(key="once", max=3) for _ in range(6)))
        assert all(claims)
        assert len({item["job"]["id"] for items in claims for item in items}) == 3
        assert (await queue.read())["claimed"] == 3


async def test_what_a_dead_agent_held_comes_back(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=60)
    await queue.submit()
    job, token = await queue.claim_one(agent="dead", key="k")
    await queue.lose_lease(job)
    assert (await queue.job(job))["state"] == "queued"
    [item] = await queue.claim(agent="alive")
    assert (item["job"]["id"], item["job"]["attempt"]) == (job, 2)
    for what in ("report", "heartbeat", "release"):
        assert "somebody else" in problem(await queue.tell(job, token, what), 409)["detail"]
    assert await queue.claim(agent="dead", key="k") == []


async def test_out_of_attempts_it_is_lost(api: Api) -> None:
    queue = await open_queue(api, max_attempts=1)
    await queue.submit()
    job, _ = await queue.claim_one()
    await queue.lose_lease(job)
    found = await queue.job(job)
    assert (found["state"], found["error"]["kind"]) == ("failed", "lost")


async def test_a_command_is_never_handed_out_twice(api: Api) -> None:
    queue = await open_queue(api, max_attempts=5)
    early = (await queue.submit())["id"]  # while the queue would have handed it out again
    ok(await queue.manager.put(queue.path, json={"delivery": "at_most_once"}))
    lost, token = await queue.claim_one()
    assert lost == early
    assert "once at most" in problem(await queue.tell(lost, token, "release"), 409)["detail"]
    assert (await queue.job(lost))["state"] == "claimed"
    await queue.lose_lease(lost)
    assert (await queue.job(lost))["error"]["kind"] == "lost"
    await queue.submit()
    failing, token = await queue.claim_one()
    ok(await queue.tell(failing, token, state="failed", error={"kind": "transient", "message": "clouds"}))
    assert (await queue.job(failing))["state"] == "failed"
    assert await queue.claim() == []
    await queue.submit()
    held, _ = await queue.claim_one()
    assert ok(await queue.manager.post(f"/v1/jobs/{held}/release", json={}))["state"] == "queued"
    assert (await queue.claim_one())[0] == held


async def test_the_life_of_a_job_with_an_agent(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one(agent="dome-1")
    running = ok(await queue.tell(job, token, state="running", stage="EXPOSING", message="first of 12"))
    assert (running["state"], running["stage"], running["message"]) == ("running", "EXPOSING", "first of 12")
    assert running["started_at"]
    there = ok(await queue.tell(job, token, progress=0.5, eta_seconds=90))
    assert (there["progress"], there["eta_seconds"], there["stage"]) == (0.5, 90, "EXPOSING")
    there = ok(await queue.tell(job, token, state="running", stage="READING"))
    assert (there["stage"], there["seq"]) == ("READING", running["seq"])
    done = ok(await queue.tell(job, token, state="done", result={"$frames": [1, 2.5, None]}, message="12 frames"))
    assert (done["state"], done["result"], done["progress"]) == ("done", {"$frames": [1, 2.5, None]}, 1)
    assert (done["message"], done["stage"], done["eta_seconds"]) == ("12 frames", None, None)
    assert done["ended_at"] >= done["started_at"]
    holder = f"{ok(await queue.agents.get('/v1/me'))['subject']}/dome-1"
    assert await story(api, job) == [
        ("queued", ADA), ("claimed", holder), ("running", holder), ("done", holder),
    ]  # fmt: skip


@pytest.mark.parametrize("told", [{"state": "running"}, {"progress": 0.5}, {}], ids=["begun", "progress", "nothing"])
async def test_a_report_is_a_sign_of_life(api: Api, told: dict[str, Any]) -> None:
    queue = await open_queue(api, lease_seconds=60)
    await queue.submit()
    job, token = await queue.claim_one()
    past = {"$set": {"lease.until": datetime.now(UTC) - timedelta(seconds=1)}}
    await api.jobs.update_one({"_id": job}, past)
    ok(await queue.tell(job, token, **told))
    lease = (await api.jobs.find_one({"_id": job}) or {})["lease"]
    assert lease["until"] > datetime.now(UTC) + timedelta(seconds=50)
    assert (lease["token"], lease["ms"]) == (token, 60_000)


async def test_its_changes_and_its_progress_are_told(api: Api) -> None:
    queue = await open_queue(api)
    events: list[JobEvent] = []

    async def take(event: JobEvent) -> None:
        events.append(event)

    feed: Subscription = await api.bus.subscribe_feed(take)
    await queue.submit()
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, progress=0.1, stage="slewing"))
    ok(await queue.tell(job, token))
    ok(await queue.tell(job, token, state="failed"))
    await until(lambda: any(event.word == "failed" for event in events))
    await feed.close()
    mine = [event for event in events if event.subject == job]
    assert [event.word for event in mine if not event.is_progress] == ["queued", "claimed", "failed"]
    [progress] = [event for event in mine if event.is_progress]
    assert (progress.data.state, progress.data.progress, progress.data.stage) == ("claimed", 0.1, "slewing")
    assert token not in str(events)


@pytest.mark.parametrize(
    ("told", "state", "kind"),
    [
        ({"state": "done"}, "done", None), ({"state": "cancelled"}, "cancelled", "cancelled"),
        ({"state": "failed"}, "failed", "fatal"),
        ({"state": "failed", "error": {"kind": "usage", "message": "no such filter"}}, "failed", "usage"),
        ({"state": "failed", "error": {"kind": "transient", "message": "clouds"}}, "queued", "transient"),
    ],
)  # fmt: skip
async def test_a_claimed_job_may_end_at_once_and_its_report_be_repeated(
    api: Api, told: dict[str, Any], state: str, kind: str | None
) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    ended = ok(await queue.tell(job, token, **told))
    assert ended["state"] == state
    assert (ended["error"] or {}).get("kind") == kind
    before = await stored(api, job)
    assert ok(await queue.tell(job, token, **told))["seq"] == ended["seq"]
    for other in ({"state": "done", "result": 2}, {"state": "running"}, {"progress": 0.5}, {}):
        problem(await queue.tell(job, token, **other), 409)
    problem(await queue.tell(job, "another token", **told), 409)
    assert await stored(api, job) == before


async def test_a_transient_failure_is_tried_again_while_attempts_are_left(api: Api) -> None:
    queue = await open_queue(api, max_attempts=2)
    await queue.submit()
    clouds: dict[str, Any] = {"state": "failed", "error": {"kind": "transient", "message": "clouds"}}
    job, token = await queue.claim_one()
    waits = ok(await queue.tell(job, token, **clouds))
    assert datetime.fromisoformat(waits["not_before"]) > datetime.now(UTC) + timedelta(seconds=1)
    assert await queue.claim() == []
    await api.jobs.update_one({"_id": job}, {"$set": {"due": True}})
    job, token = await queue.claim_one()
    failed = ok(await queue.tell(job, token, **clouds))
    assert (failed["state"], failed["attempt"], failed["error"]["kind"]) == ("failed", 2, "transient")


async def test_a_report_does_not_outlive_its_series(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="done"))
    ok(await api.ada.post(f"/v1/jobs/{job}/retry"))
    problem(await queue.tell(job, token, state="done"), 409)
    assert (await queue.job(job))["state"] == "queued"


async def test_reports_out_of_order_change_nothing(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="running"))
    before = await stored(api, job)
    problem(await queue.tell(job, token, state="claimed"), 409)
    problem(await queue.tell(job, "stale", state="done"), 409)
    assert await stored(api, job) == before
    ok(await queue.tell(job, token, state="done"))
    before = await stored(api, job)
    for state in ("claimed", "running", "failed", "cancelled"):
        problem(await queue.tell(job, token, state=state), 409)
    for what in ("heartbeat", "release"):
        problem(await queue.tell(job, token, what), 409)
    assert await stored(api, job) == before


async def test_the_fence_is_in_every_write(api: Api) -> None:
    """Who has looked before the lease was lost writes after it."""
    store = AgentStore(api.database)
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    before = await stored(api, job)
    assert await store.begin(job, "stale", Progress(0.5), "me") is None
    assert await store.progress(job, "stale", Progress(0.5), State.CLAIMED) is None
    assert await store.progress(job, token, Progress(0.5), State.RUNNING) is None
    assert await store.finish(job, Finish(State.DONE), Report("stale", "digest"), "me") is None
    assert await store.renew(job, "stale") is None
    assert await stored(api, job) == before
    ok(await queue.tell(job, token, state="running"))
    before = await stored(api, job)
    assert await store.begin(job, token, Progress(0.5), "me") is None
    assert await stored(api, job) == before


async def test_of_two_reports_at_once_one_counts(api: Api) -> None:
    queue = await open_queue(api)
    for _ in range(5):
        await queue.submit()
        job, token = await queue.claim_one()
        answers = await asyncio.gather(*(queue.tell(job, token, state=state) for state in ("done", "failed", "done")))
        ended = {answer.json()["state"] for answer in answers if answer.is_success}
        assert len(ended) == 1
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len(await story(api, job)) == 3


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"progress": 7}, 422, "progress"), ({"progress": -0.1}, 422, "progress"),
        ({"progress": True}, 422, "progress"), ({"progress": "0.5"}, 422, "progress"),
        ({"eta_seconds": -1}, 422, "eta_seconds"), ({"eta_seconds": 1e300}, 422, "eta_seconds"),
        ({"stage": "two\nlines"}, 422, "stage"), ({"stage": "s" * 201}, 422, "stage"), ({"stage": 7}, 422, "stage"),
        ({"message": "m" * 10_001}, 422, "message"), ({"state": "queued"}, 422, "state"),
        ({"state": "EXPOSING"}, 422, "state"), ({"state": {"$ne": ""}}, 422, "state"),
        ({"result": 1}, 422, "result"), ({"state": "failed", "result": 1}, 422, "result"),
        ({"state": "done", "result": "r" * 1_010_000}, 422, "result"),
        ({"error": {"message": "e"}}, 422, "error"), ({"state": "done", "error": {"message": "e"}}, 422, "error"),
        ({"state": "failed", "error": {"kind": "lost", "message": "e"}}, 422, "error.kind"),
        ({"state": "failed", "error": {"message": ""}}, 422, "error.message"),
        ({"state": "failed", "error": "e"}, 422, "error"), ({"lease_token": 7}, 422, "lease_token"),
        ({"lease_token": {"$exists": True}}, 422, "lease_token"), ({"owner": "eve"}, 422, "owner"),
        ({"state": "done", "result": 2**64}, 422, "result"),
    ],
)  # fmt: skip
async def test_a_bad_report_changes_nothing(api: Api, fields: dict[str, Any], status: int, field: str) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    before = await stored(api, job)
    answer = await queue.agents.post(f"/v1/jobs/{job}/report", json={"lease_token": token} | fields)
    problem(answer, status, field)
    assert await stored(api, job) == before


@pytest.mark.parametrize("what", ["report", "heartbeat", "release"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"lease_token": "t", "progress": NaN}', 422), (b'{"lease_token": "t", "progress": 1e999}', 422),
        (b"", 400), (b"{", 400), (b"[]", 422), (b'"t"', 422), (b'{"lease_token": ""}', 422),
        (b'{"lease_token": "' + b"t" * 2_000_000 + b'"}', 413), (b'{"lease_token": "\xff"}', 400),
    ],
    ids=["NaN", "1e999", "empty", "half", "list", "text", "no token", "2 MB", "not UTF-8"],
)  # fmt: skip
async def test_what_is_no_report_is_refused(api: Api, what: str, body: bytes, status: int) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, _ = await queue.claim_one()
    before = await stored(api, job)
    problem(await queue.agents.post(f"/v1/jobs/{job}/{what}", content=body), status)

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    problem(await queue.agents.post(f"/v1/jobs/{job}/{what}", content=pieces()), status)
    assert await stored(api, job) == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"agent": None}, "agent"), ({"agent": ""}, "agent"), ({"agent": "a\nb"}, "agent"), ({"max": 0}, "max"),
        ({"max": 101}, "max"), ({"max": True}, "max"), ({"max": "1"}, "max"), ({"lease_seconds": 0}, "lease_seconds"),
        ({"lease_seconds": 1e9}, "lease_seconds"), ({"wait": 61}, "wait"), ({"wait": -1}, "wait"),
        ({"queue": "another"}, "queue"),
    ],
)  # fmt: skip
async def test_a_bad_claim_claims_nothing(api: Api, fields: dict[str, Any], field: str) -> None:
    queue = await open_queue(api)
    job = (await queue.submit())["id"]
    problem(await queue.agents.post(f"{queue.path}/claim", json={"agent": "a"} | fields), 422, field)
    problem(await queue.agents.post(f"{queue.path}/claim", params={"wait": 61}, json={"agent": "a"}), 422, "wait")
    assert (await queue.job(job))["seq"] == 1


async def test_a_heartbeat_renews_the_lease_and_tells_of_a_wish(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=60)
    await queue.submit()
    job, token = await queue.claim_one()
    past = {"$set": {"lease.until": datetime.now(UTC) - timedelta(seconds=1)}}
    await api.jobs.update_one({"_id": job}, past)
    beat = ok(await queue.tell(job, token, "heartbeat"))
    assert datetime.fromisoformat(beat["lease_until"]) > datetime.now(UTC) + timedelta(seconds=50)
    assert beat["cancel_requested"] is False
    assert ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))["cancel_requested"] is True
    assert ok(await queue.tell(job, token, "heartbeat"))["cancel_requested"] is True
    ended = ok(await queue.tell(job, token, state="cancelled"))
    assert (ended["state"], ended["error"]["kind"]) == ("cancelled", "cancelled")
    assert (await story(api, job))[-1] == ("cancelled", ADA)


async def test_without_leases_a_heartbeat_still_tells_of_a_wish(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None)
    await queue.submit()
    job, token = await queue.claim_one()
    await queue.lose_lease(job)
    ok(await queue.tell(job, token, state="running", stage="slewing"))
    ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
    assert ok(await queue.tell(job, token, "heartbeat")) == {"lease_until": None, "cancel_requested": True}


async def test_what_ends_first_counts_and_a_wish_keeps_it_from_coming_back(api: Api) -> None:
    queue = await open_queue(api)
    clouds: dict[str, Any] = {"state": "failed", "error": {"kind": "transient", "message": "clouds"}}
    for told, state in (({"state": "done"}, "done"), ({"state": "failed"}, "failed"), (clouds, "cancelled")):
        await queue.submit()
        job, token = await queue.claim_one()
        ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
        assert ok(await queue.tell(job, token, **told))["state"] == state
    await queue.submit()
    job, token = await queue.claim_one()
    ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
    assert ok(await queue.tell(job, token, "release"))["state"] == "cancelled"


async def test_a_released_job_waits_again_as_if_it_had_not_been_handed_out(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    ok(await queue.tell(job, token, state="running", progress=0.5))
    released = ok(await queue.tell(job, token, "release"))
    assert (released["state"], released["attempt"], released["progress"]) == ("queued", 0, None)
    assert ok(await queue.tell(job, token, "release"))["seq"] == released["seq"]
    again, other = await queue.claim_one()
    assert again == job
    problem(await queue.tell(job, token, "heartbeat"), 409)
    ok(await queue.tell(job, other, "heartbeat"))


async def test_a_manager_releases_without_a_token_and_nobody_else_does(api: Api) -> None:
    queue = await open_queue(api, lease_seconds=None)
    await queue.submit()
    job, token = await queue.claim_one()
    problem(await queue.agents.post(f"/v1/jobs/{job}/release", json={}), 422, "lease_token")
    problem(await api.ada.post(f"/v1/jobs/{job}/release", json={}), 403)
    root = api.client("root@example.org", "admin")
    assert ok(await root.post(f"/v1/jobs/{job}/release", json={}))["state"] == "queued"
    problem(await root.post(f"/v1/jobs/{job}/release", json={}), 409)
    problem(await queue.tell(job, token, "heartbeat"), 409)
    assert (await story(api, job))[-1] == ("queued", "root@example.org")


async def test_only_who_may_work_does(api: Api) -> None:
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one()
    await queue.submit()
    operator = api.client("olga@example.org", "operator")
    for who, status in ((api.ada, 403), (operator, 403), (api.bearer(None), 401)):
        problem(await who.post(f"{queue.path}/claim", json={"agent": "a"}), status)
        for what in ("report", "heartbeat", "release"):
            problem(await who.post(f"/v1/jobs/{job}/{what}", json={"lease_token": token}), status)
    agent = api.client("agent@example.org", "agent")
    [item] = ok(await agent.post(f"{queue.path}/claim", json={"agent": "laptop"}))["items"]
    ok(await agent.post(f"/v1/jobs/{item['job']['id']}/report", json={"lease_token": item["lease_token"]}))


async def test_a_backends_job_is_its_workers_and_no_agents(api: Api) -> None:
    """Even with the token of its lease, which nobody but its worker has."""
    job = (await api.submit())["id"]
    lease = {"holder": "worker-1", "token": "t", "ms": 30_000, "until": datetime.now(UTC) + timedelta(seconds=30)}
    await api.jobs.update_one({"_id": job}, {"$set": {"state": "running", "lease": lease}})
    manager = api.client(MANAGER, "queue manager")
    for what, body in (("report", {"lease_token": "t"}), ("heartbeat", {"lease_token": "t"}), ("release", {})):
        problem(await manager.post(f"/v1/jobs/{job}/{what}", json=body), 404)
        problem(await manager.post(f"/v1/jobs/nobody/{what}", json=body), 404)


async def test_what_an_agent_calls_itself_may_be_long(api: Api) -> None:
    """The name stands in history and events; nothing is addressed by it."""
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one(agent="é" * 200)
    ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
    ok(await queue.tell(job, token, state="cancelled"))
    await stored(api, job)
