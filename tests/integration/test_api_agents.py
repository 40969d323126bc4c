"""What agents report over HTTP counts while they hold the lease, and no longer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from heliograph.bus.port import Subscription
from heliograph.events.model import JobEvent
from heliograph.jobs import relay
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentStore
from heliograph.jobs.store.agents import Report
from heliograph.jobs.store.claims import Finish, Progress
from tests.parts.api import ADA, Api, open_api, problem
from tests.parts.queues import MANAGER, PullQueue, ok, open_queue, stored, story
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "SWEEP_SECONDS", 3600.0)  # what nobody is nudged about is not told
        async with open_api(mongodb_url) as opened:
            yield opened


@dataclass(frozen=True, slots=True)
class Held:
    """A job that an agent holds, for tests that change nothing."""

    queue: PullQueue
    job: str
    token: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(api: Api) -> Held:
    queue = await open_queue(api, lease_seconds=None)  # or it would be taken back in the midst of a test
    await queue.submit()
    return Held(queue, *await queue.claim_one())


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
    await postpone(api, job)
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
    since = datetime.fromisoformat(waits["updated_at"])
    assert datetime.fromisoformat(waits["not_before"]) > since + timedelta(seconds=1)
    await postpone(api, job)
    assert await queue.claim() == []
    await api.jobs.update_one({"_id": job}, {"$set": {"due": True}})
    job, token = await queue.claim_one()
    failed = ok(await queue.tell(job, token, **clouds))
    assert (failed["state"], failed["attempt"], failed["error"]["kind"]) == ("failed", 2, "transient")


async def postpone(api: Api, job: str) -> None:
    """Let a job that is to be tried again soon be so later than any test looks."""
    later = {"not_before": datetime.now(UTC) + timedelta(hours=1)}
    await api.jobs.update_one({"_id": job, "not_before": {"$type": "date"}}, {"$set": later})


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
async def test_a_bad_report_changes_nothing(
    api: Api, held: Held, fields: dict[str, Any], status: int, field: str
) -> None:
    before = await stored(api, held.job)
    body = {"lease_token": held.token} | fields
    problem(await held.queue.agents.post(f"/v1/jobs/{held.job}/report", json=body), status, field)
    assert await stored(api, held.job) == before


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
async def test_what_is_no_report_is_refused(api: Api, held: Held, what: str, body: bytes, status: int) -> None:
    if what == "release" and not body:
        status = 422  # as without a token, which managers do without
    before = await stored(api, held.job)
    path = f"/v1/jobs/{held.job}/{what}"
    problem(await held.queue.agents.post(path, content=body), status)

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    problem(await held.queue.agents.post(path, content=pieces()), status)
    assert await stored(api, held.job) == before


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
    told = {"lease_until": None, "deadline": None, "cancel_requested": True}
    assert ok(await queue.tell(job, token, "heartbeat")) == told


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


async def test_a_backends_job_is_its_workers_and_no_agents(api: Api) -> None:
    """Even with the token of its lease, which nobody but its worker has."""
    job = (await api.submit())["id"]
    lease = {"holder": "worker-1", "token": "t", "ms": 30_000, "until": datetime.now(UTC) + timedelta(seconds=30)}
    await api.jobs.update_one({"_id": job}, {"$set": {"state": "running", "lease": lease}})
    manager = api.client(MANAGER, "queue manager")
    for what, body in (("report", {"lease_token": "t"}), ("heartbeat", {"lease_token": "t"}), ("release", {})):
        problem(await manager.post(f"/v1/jobs/{job}/{what}", json=body), 404)
        problem(await manager.post(f"/v1/jobs/nobody/{what}", json=body), 404)


async def test_what_an_agent_calls_itself_may_be_long(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in history and events, and no message is addressed by it: the broker takes 255 bytes."""
    wishes: list[str] = []

    async def wish_cancel(worker: str, job: str) -> None:
        wishes.append(worker)

    monkeypatch.setattr(api.bus, "wish_cancel", wish_cancel)
    queue = await open_queue(api)
    await queue.submit()
    job, token = await queue.claim_one(agent="é" * 200)
    ok(await api.ada.post(f"/v1/jobs/{job}/cancel"))
    ok(await queue.tell(job, token, state="cancelled"))
    await stored(api, job)
    assert wishes == []
