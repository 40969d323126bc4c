"""What was given up and what is stuck: who sees it, page by page, and what a replay does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
import structlog

from heliograph.announcements import Announcements
from heliograph.bus import topology
from heliograph.bus.port import DeadEvent
from heliograph.dead.store import LetterStore
from heliograph.events.model import JobEvent, JobEventData
from heliograph.ids import new_id
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.claims import Finish
from tests.parts.api import ADA, Api, open_api, problem
from tests.parts.jobs import Stores, failed
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the tracebacks of what is refused on purpose unrendered: each takes 0.1 s and more."""
    with structlog.testing.capture_logs():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    for collection in ("jobs", "dead_letters", "workers"):
        await opened.database.collection(collection).delete_many({})
    return opened


@pytest_asyncio.fixture(loop_scope="module")
async def olga(api: Api) -> httpx.AsyncClient:
    return api.client("olga@example.org", "operator")


async def give_up(api: Api, kind: ErrorKind = ErrorKind.TRANSIENT, **fields: Any) -> str:
    """Submit a job and let all its attempts end in an error."""
    stores = Stores.of(api.database)
    job = await api.submit(max_attempts=1, **fields)
    claimed = await stores.claim(timedelta(seconds=30), "sum")
    assert await stores.finish(claimed, Finish(State.FAILED, error=JobError(kind, "the catalogue did not answer")))
    return str(job["id"])


async def dead(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/dead", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json()["items"])


async def backdate(api: Api, job: str, length: timedelta, **paths: Any) -> None:
    """Let what these paths of a job say have happened so long ago."""
    at = datetime.now(UTC) - length
    assert (await api.jobs.update_one({"_id": job}, {"$set": dict.fromkeys(paths, at)})).matched_count


def an_event(job: str | None = None, seq: int = 2) -> JobEvent:
    data = JobEventData(
        id=job or new_id(), state=State.DONE, series=1, seq=seq, told=True, queue="sum", backend="sum", owner=ADA,
        at=datetime.now(UTC),
    )  # fmt: skip
    return JobEvent.of_change(data)


@asynccontextmanager
async def nobody_told(api: Api) -> AsyncIterator[None]:
    """Let no subscriber take told events, so that they stay in their outbox."""
    subscriptions = tuple(api.bus._told)
    for each in subscriptions:
        await each.pause()
    yield
    for each in subscriptions:
        await each.resume()


async def test_only_who_sees_everything_sees_them_and_only_operators_replay(api: Api) -> None:
    job, event = await give_up(api), an_event()
    await LetterStore(api.database).keep(DeadEvent(event))
    for role, may_see, may_replay in (
        ("user", False, False), ("agent", False, False), ("queue manager", False, False),
        ("job manager", True, False), ("operator", True, True), ("admin", True, True),
    ):  # fmt: skip
        client = api.client("x@example.org", role)
        assert (await client.get("/v1/dead")).status_code == (200 if may_see else 403), role
        answer = await client.post(f"/v1/dead/{job}/replay")
        assert answer.status_code == (200 if may_replay else 403), role
        if may_replay:
            await give_up_again(api)
        else:
            problem(await client.post(f"/v1/dead/{event.id}/replay"), 403)
    problem(await api.bearer(None).get("/v1/dead"), 401)


async def give_up_again(api: Api) -> None:
    stores = Stores.of(api.database)
    assert await stores.finish(await stores.claim(timedelta(seconds=30), "sum"), failed())


@pytest.mark.parametrize(
    ("kind", "words"),
    [(ErrorKind.TRANSIENT, "failed for a passing reason"), (ErrorKind.TIMEOUT, "took longer than it may"),
     (ErrorKind.LOST, "was lost with its worker")],
)  # fmt: skip
async def test_a_job_that_was_given_up_is_listed_and_runs_again(
    api: Api, olga: httpx.AsyncClient, kind: ErrorKind, words: str
) -> None:
    job = await give_up(api, kind)
    (item,) = await dead(olga, kind="job")
    since = datetime.fromisoformat(item.pop("since"))
    assert abs(datetime.now(UTC) - since) < timedelta(minutes=1)
    assert item == {
        "id": job, "kind": "job", "job_id": job, "queue": "sum", "backend": "sum",
        "what": f"given up after 1 attempt: the last {words}", "error": "the catalogue did not answer",
        "can_replay": True,
    }  # fmt: skip
    answer = await olga.post(f"/v1/dead/{job}/replay")
    assert answer.json() == {"id": job, "kind": "job"}
    again = (await olga.get(f"/v1/jobs/{job}")).json()
    assert (again["state"], again["series"]) == ("queued", 2)
    assert await dead(olga) == []


@pytest.mark.parametrize("kind", [ErrorKind.FATAL, ErrorKind.USAGE])
async def test_a_job_that_a_repeat_does_not_mend_was_not_given_up(
    api: Api, olga: httpx.AsyncClient, kind: ErrorKind
) -> None:
    job = await give_up(api, kind)
    assert await dead(olga) == []
    problem(await olga.post(f"/v1/dead/{job}/replay"), 409)
    problem(await olga.post(f"/v1/dead/{new_id()}/replay"), 404)
    assert (await olga.get(f"/v1/jobs/{job}")).json()["state"] == "failed"


async def test_a_list_of_all_goes_page_by_page_through_each_kind(api: Api, olga: httpx.AsyncClient) -> None:
    async with nobody_told(api):  # or an outbox would be emptied meanwhile
        await check_pages(api, olga)


async def check_pages(api: Api, olga: httpx.AsyncClient) -> None:
    kinds = (ErrorKind.TRANSIENT, ErrorKind.LOST, ErrorKind.TIMEOUT, ErrorKind.TRANSIENT)
    jobs = [await give_up(api, kind) for kind in kinds]
    same = datetime.now(UTC)  # a tie, which the id breaks
    await api.jobs.update_many({"_id": {"$in": jobs[:2]}}, {"$set": {"ended_at": same}})
    await api.jobs.update_many({"_id": {"$in": jobs[2:]}}, {"$set": {"ended_at": same + HOUR}})
    letters = LetterStore(api.database)
    events = [an_event() for _ in range(3)]
    for minutes, event in zip((1, 1, 2), events, strict=True):
        await letters.keep(DeadEvent(event, "delivery_limit", same + timedelta(minutes=minutes)))
    expected = [
        *jobs[::-1], events[2].id, events[1].id, events[0].id, *(job for job in jobs[::-1] for _ in ("out", "due"))
    ]  # fmt: skip
    # Stuck for two causes, all since the very same time.
    entry = {"id": new_id(), "seq": 9, "series": 1, "at": same - HOUR, "state": "failed", "by": ADA, "told": True}
    await api.jobs.update_many({}, {"$set": {"outbox": [entry], "notices_due": [{"seq": 9, "at": same - HOUR}]}})
    for limit in (1, 2, 5, 200):
        seen, cursor = [], None
        while True:
            query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = (await olga.get("/v1/dead", params=query)).json()
            seen += page["items"]
            assert len(page["items"]) <= limit
            cursor = page["next"]
            if cursor is None:
                break
        assert [item["id"] for item in seen] == expected, limit
        assert len({(item["id"], item["what"]) for item in seen}) == len(expected)
    first = (await olga.get("/v1/dead", params={"kind": "job", "limit": 1})).json()["next"]
    assert [item["id"] for item in await dead(olga, kind="job", cursor=first)] == jobs[2::-1]
    for query in (
        {"cursor": "nonsense"}, {"cursor": first, "kind": "event"}, {"limit": "0"}, {"kind": "none"}, {"knd": "job"},
        {"state": "replayed", "kind": "job"},
    ):  # fmt: skip
        problem(await olga.get("/v1/dead", params=query), 422)


async def test_an_event_that_no_notifier_takes_is_listed_replayed_and_listed_again_where_it_dies_again(
    api: Api, olga: httpx.AsyncClient
) -> None:
    event, tries, heals_at = an_event(), 0, 2 * topology.DELIVERY_LIMIT

    async def take(told: JobEvent) -> None:
        nonlocal tries
        if told.id != event.id:
            return  # the relay may have had another job's in hand
        tries += 1
        if tries <= heals_at:
            raise ValueError("on purpose")

    async with nobody_told(api):
        refusing = await api.bus.subscribe_told(take)
        await publish_until_dead(api, event)
        await until(lambda: api.database.collection("dead_letters").count_documents({}))
        (item,) = await dead(olga, kind="event")
        assert item["id"] == event.id
        assert item["job_id"] == event.data.id
        assert item["what"] == 'no notifier could take the news that the job is "done"'
        assert "on purpose" in item["error"]
        assert item["can_replay"]
        for _ in range(topology.DELIVERY_LIMIT - 1):
            problem(await olga.post(f"/v1/dead/{event.id}/replay"), 503)
            assert [each["id"] for each in await dead(olga, kind="event")] == [event.id]
        await olga.post(f"/v1/dead/{event.id}/replay")  # which it did not survive
        await until(lambda: twice(olga))
        assert (await olga.post(f"/v1/dead/{event.id}/replay")).json() == {"id": event.id, "kind": "event"}
        await refusing.close()
    assert tries == heals_at + 1
    assert await dead(olga) == []
    (item,) = await dead(olga, state="replayed")
    assert "olga@example.org had it told again on 20" in item["what"]
    assert not item["can_replay"]
    problem(await olga.post(f"/v1/dead/{event.id}/replay"), 409)


async def twice(olga: httpx.AsyncClient) -> bool:
    items = await dead(olga, kind="event")
    return bool(items) and "2 times by now" in items[0]["what"]


async def publish_until_dead(api: Api, event: JobEvent) -> None:
    for _ in range(topology.DELIVERY_LIMIT - 1):
        with pytest.raises(Exception, match="told again"):
            await api.bus.publish(event)
    await api.bus.publish(event)


async def test_an_event_that_died_again_before_its_replay_was_noted_stays_open(api: Api) -> None:
    letters, event = LetterStore(api.database), an_event()
    await letters.keep(DeadEvent(event))
    letter = await letters.find(event.id)
    assert letter is not None
    await letters.keep(DeadEvent(event))
    await letters.replayed(letter, "olga@example.org")
    found = await letters.find(event.id)
    assert found is not None
    assert (found.count, found.replayed_at) == (2, None)


async def test_the_letter_of_an_event_is_the_event_as_it_was(api: Api) -> None:
    letters, event = LetterStore(api.database), an_event(seq=7)
    await letters.keep(DeadEvent(event, "half a pair \ud800 and " + "x" * 1000))
    letter = await letters.find(event.id)
    assert letter is not None
    assert letter.event == event
    assert letter.reason
    assert len(letter.reason) == 500


async def stuck(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    return [(item["id"], item["what"]) for item in await dead(client, kind="stuck")]


async def test_a_job_waits_in_vain_while_nobody_serves_its_queue(api: Api, olga: httpx.AsyncClient) -> None:
    job = (await api.submit())["id"]
    assert await stuck(olga) == []  # it has not waited for long
    await backdate(api, job, timedelta(minutes=16), updated_at=1)
    assert await stuck(olga) == [(job, "it waits: no worker that offers the backend sum is alive")]
    (item,) = await dead(olga)
    assert (item["kind"], item["backend"], item["can_replay"]) == ("stuck", "sum", False)
    assert "no worker" in problem(await olga.post(f"/v1/dead/{job}/replay"), 409)["detail"]
    announcements = Announcements(api.database)
    await announcements.seen("a worker", ["sum"], 1)
    assert await stuck(olga) == []  # that one may be busy
    await announcements.set_paused("sum", paused=True)
    assert await stuck(olga) == [(job, "it waits: the backend sum is paused")]
    await announcements.set_paused("sum", paused=False)
    await announcements.gone("a worker")
    await backdate(api, job, timedelta(minutes=14), not_before=1)
    assert await stuck(olga) == []  # it could not be begun before
    await backdate(api, job, timedelta(minutes=15), not_before=1)
    assert len(await stuck(olga)) == 1
    await api.jobs.update_one({"_id": job}, {"$set": {"queue": "gone"}})
    assert "neither such a backend nor such a queue" in (await stuck(olga))[0][1]


async def test_a_pull_queue_stands_still_while_no_agent_claims(api: Api, olga: httpx.AsyncClient) -> None:
    root = api.client("root@example.org", "admin")
    assert (await root.put("/v1/queues/dome", json={})).status_code in {200, 201}
    jobs = []
    for _ in range(2):
        answer = await api.ada.post("/v1/jobs", json={"queue": "dome", "parameters": {}})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        jobs.append(answer.json()["id"])
        await backdate(api, jobs[-1], HOUR, updated_at=1)
    assert [what for _, what in await stuck(olga)] == ["it waits: no agent claims from the queue dome"] * 2
    claimed = await Stores.of(api.database).claims.claim(["dome"], "the dome", None, into=State.CLAIMED)
    assert claimed is not None
    assert await stuck(olga) == []
    await backdate(api, claimed.id, timedelta(hours=25), updated_at=1)
    assert await stuck(olga) == [(claimed.id, "the dome holds it without a lease and has not said a word of it since")]
    assert "release" in problem(await olga.post(f"/v1/dead/{claimed.id}/replay"), 409)["detail"]
    await root.post("/v1/queues/dome/pause")
    whats = {what for _, what in await stuck(olga)}
    assert "it waits: the queue dome is paused" in whats


async def test_what_nobody_told_is_told_on_a_replay(api: Api, olga: httpx.AsyncClient) -> None:
    job = (await api.submit())["id"]
    await until(lambda: told(api, job))
    await api.jobs.update_one({"_id": job}, {"$set": {"notices_due": [{"seq": 1, "at": datetime.now(UTC)}]}})
    assert await stuck(olga) == []
    await backdate(api, job, timedelta(minutes=6), **{"notices_due.0.at": 1})
    assert await stuck(olga) == [(job, "no notifier has planned what people are to be told of it")]
    before = len(api.told)
    assert (await olga.post(f"/v1/dead/{job}/replay")).json() == {"id": job, "kind": "stuck"}
    assert [event.id for event in api.told[before:] if event.data.id == job] == [f"{job}:1"]


async def told(api: Api, job: str) -> bool:
    """Whether the outbox of a job is empty."""
    return bool(await api.jobs.count_documents({"_id": job, "outbox": []}))


async def test_an_outbox_that_is_not_emptied_shows(api: Api, olga: httpx.AsyncClient) -> None:
    async with nobody_told(api):
        job = (await api.submit())["id"]
        await backdate(api, job, timedelta(minutes=6), **{"outbox.0.at": 1})
        assert [found for found, what in await stuck(olga) if "get to the bus" in what] == [job]
    answer = await olga.post(f"/v1/dead/{job}/replay")
    # The relay's own sweep may be quicker: then there is nothing left to replay.
    assert answer.status_code in {httpx.codes.OK, httpx.codes.CONFLICT}, answer.text
    await until(lambda: told(api, job))
    assert [found for found, what in await stuck(olga) if "get to the bus" in what] == []


async def test_no_look_at_the_list_reads_jobs_that_are_of_no_concern(api: Api, olga: httpx.AsyncClient) -> None:
    done = Stores.of(api.database)
    for _ in range(30):
        await api.submit()
        await done.finish(await done.claim(timedelta(seconds=30), "sum"), Finish(State.DONE, 1))
    await api.jobs.update_many({}, {"$set": {"outbox": [], "notices_due": []}})
    await api.database.raw.command("profile", 2)
    try:
        await dead(olga)
        entries = await api.database.raw["system.profile"].find({"ns": {"$regex": "jobs$"}}).to_list(None)
    finally:
        await api.database.raw.command("profile", 0)
    # Others read jobs meanwhile; those by their ids are the relay's.
    ours = [entry for entry in entries if {"hint", "distinct"} & set(entry["command"])]
    assert len(ours) >= 4
    assert max(entry["docsExamined"] for entry in ours) == 0
