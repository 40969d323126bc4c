"""Agents claim over HTTP: each job goes to one of them, sent again or not, and comes back where its agent is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from heliograph.jobs import relay
from heliograph.jobs.store import upkeep
from heliograph.storage import StoreUnavailableError
from heliograph_api import waiting
from tests.parts.api import ADA, Api, open_api, problem
from tests.parts.queues import ok, open_queue, stored
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "SWEEP_SECONDS", 3600.0)  # what nobody is nudged about is not told
        async with open_api(mongodb_url) as opened:
            yield opened


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
    claim = asyncio.create_task(queue.claim(wait=25))
    await until(lambda: looks)
    began = asyncio.get_running_loop().time()
    job = await queue.submit()
    assert [item["job"]["id"] for item in await claim] == [job["id"]]
    assert asyncio.get_running_loop().time() - began < 20  # the last look, at the end of the time, would find it too


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


@pytest.mark.parametrize("most", [1, 10])
async def test_nothing_is_claimed_for_an_agent_that_has_gone(api: Api, most: int) -> None:
    queue = await open_queue(api, lease_seconds=None)
    impatient = api.bearer(queue.agents.headers["authorization"].removeprefix("Bearer "))
    asked = {"agent": "impatient", "wait": 50, "max": most}
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
    assert await queue.claim(key="night 1", max=1) == again
    ok(await queue.manager.post(f"{queue.path}/resume"))
    others = [
        *await queue.claim(key="night 2"), *await queue.claim(key="night 1", agent="dome-2"), *await queue.claim()
    ]  # fmt: skip
    assert len({item["job"]["id"] for item in [*first, *others]}) == 6
    problem(await queue.agents.post(f"{queue.path}/claim", json={"agent": "a"}, headers={"Idempotency-Key": ""}), 422)


async def test_claims_under_one_key_at_the_same_time_are_one(api: Api) -> None:
    for limits, most in (({}, 3), ({"total": 10}, 3), ({}, 8)):
        queue = await open_queue(api, lease_seconds=None, limits=limits)
        await queue.fill(20)
        claims = await asyncio.gather(*(queue.claim(key="once", max=most) for _ in range(6)))
        assert len(claims[0]) == most
        assert all(items == claims[0] for items in claims)
        assert (await queue.read())["claimed"] == most


async def test_an_outage_amid_a_claim_leaves_nothing_held(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent was told of what it took."""
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    jobs = await queue.fill(10)
    claiming = api.app.state.parts.agents.claiming
    take = claiming._several.take

    async def lost(*asked: Any, **more: Any) -> None:
        await take(*asked, **more)
        raise StoreUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(claiming._several, "take", lost)
        problem(await queue.ask(max=8), 503)

    async def is_given_back() -> bool:
        return bool((await queue.read())["claimed"] == 0)

    await until(is_given_back)
    items = await queue.claim(max=10)
    assert {item["job"]["id"] for item in items} == jobs
    assert {item["job"]["attempt"] for item in items} == {1}


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


async def test_one_that_takes_too_long_is_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = await open_queue(api, lease_seconds=None, delivery="at_most_once")
    await queue.submit(timeout_seconds=3600)
    [item] = await queue.claim(key="k")
    job, token = item["job"]["id"], item["lease_token"]
    assert await queue.claim(key="k") == [item]
    begun = ok(await queue.tell(job, token, state="running"))
    deadline = datetime.fromisoformat(begun["started_at"]) + timedelta(hours=1)
    assert datetime.fromisoformat(item["deadline"]) <= deadline
    beat = ok(await queue.tell(job, token, "heartbeat"))
    assert datetime.fromisoformat(beat["deadline"]) == deadline
    monkeypatch.setattr(upkeep, "GRACE_WITHOUT_LEASE", timedelta(milliseconds=1))
    await api.jobs.update_one({"_id": job}, {"$set": {"lease.deadline": datetime.now(UTC) - timedelta(seconds=1)}})
    found = await api.over({"id": job}, queue.agents)
    message = "it ran longer than its limit of 3,600 s"
    assert (found["state"], found["error"]["kind"], found["error"]["message"]) == ("failed", "timeout", message)
    for what in ("report", "heartbeat", "release"):
        assert message in problem(await queue.tell(job, token, what), 409)["detail"]
    assert await queue.claim(key="k") == []


async def test_every_statement_goes_by_an_index(api: Api) -> None:
    queue = await open_queue(api)
    await queue.fill(300)
    raw = api.database.raw
    await raw.command("profile", 2)
    job, token = await queue.claim_one(key="k")
    assert await queue.claim_one(key="k") == (job, token)
    ok(await queue.tell(job, token, state="running"))
    ok(await queue.tell(job, token, progress=0.5))
    ok(await queue.tell(job, token, "heartbeat"))
    ok(await queue.tell(job, token, "release"))
    await raw.command("profile", 0)
    seen = await raw["system.profile"].find({"ns": f"{raw.name}.jobs", "op": {"$ne": "insert"}}).to_list(100)
    mine = [one for one in seen if "outbox.at" not in str(one["command"])]  # the sweep is the relay's
    assert len(mine) >= 9
    for one in mine:
        assert one["planSummary"].startswith(("IXSCAN", "IDHACK")), one
        assert one.get("docsExamined", 0) <= 2, one
        assert not one.get("hasSortStage"), one


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
