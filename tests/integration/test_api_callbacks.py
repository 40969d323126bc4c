"""What outside systems tell of a running job, over HTTP at a signed address."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

import heliograph_api.problems
from heliograph.callbacks import Callbacks
from heliograph.callbacks import callbacks as rules
from heliograph.callbacks.store import CALLBACKS, CallbackStore
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import ClaimStore
from heliograph.jobs.store.claims import Finish
from heliograph.storage import StoreUnavailableError
from tests.parts.api import Api, open_api, problem
from tests.parts.jobs import lease_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, OLD_KEY = "a key of links, of these tests and nothing else", "the key of links of yesterday, still verified"
PUBLIC = "https://heliograph.example.org/here"
A_LONG_LEASE = timedelta(hours=1)  # or the next test may be handed a job of an earlier one, taken back meanwhile


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=(KEY, OLD_KEY), public_url=PUBLIC) as opened:
        yield opened


class Running:
    """A job at work, and what is told of it."""

    def __init__(self, api: Api, job: Job) -> None:
        self.api = api
        self.job = job
        self.token = lease_of(job).token
        self.claims = ClaimStore(api.database)
        self.callbacks = Callbacks(api.database, (KEY,), PUBLIC)
        self.outside = api.bearer(None)

    def path(self, *, expires: timedelta = timedelta(hours=1), key: str = KEY) -> str:
        signer = Callbacks(self.api.database, (key,), PUBLIC)
        url = signer.url_for(self.job, self.token, datetime.now(UTC) + expires)
        assert url.startswith(f"{PUBLIC}/v1/callbacks/")
        return url.removeprefix(PUBLIC)

    async def tell(self, body: Any, path: str | None = None, **headers: str) -> httpx.Response:
        return await self.outside.post(path or self.path(), json=body, headers=headers)

    async def told(self) -> list[Any]:
        """Return all that was told, as the worker gets it."""
        found: list[Any] = []
        while answer := await self.callbacks.next(self.job, self.token, len(found)):
            number, callback = answer
            assert number == len(found) + 1
            found.append(callback.body)
        return found

    async def finish(self, finish: Finish) -> None:
        assert await self.claims.finish(self.job.id, self.token, finish, "worker")


async def at_work(api: Api, **fields: Any) -> Running:
    submitted = await api.submit(**fields)
    job = await ClaimStore(api.database).claim(("sum",), "worker", A_LONG_LEASE)
    assert job is not None
    assert job.id == submitted["id"]
    return Running(api, job)


@pytest_asyncio.fixture(loop_scope="module")
async def running(api: Api) -> Running:
    return await at_work(api)


async def test_what_is_told_comes_in_order_and_whole(running: Running) -> None:
    messages = [
        {"state": "running", "progress": 0.1, "stage": "calibrating", "node": "n07", "scwid": ["0665", 12]},
        {"action": "progress", "message": "half of it"},
        {"state": "done", "result": {"flux": 1.5, "bands": ["J", "H"]}},
    ]
    before = await running.api.database.now()
    for message in messages:
        answer = await running.tell(message)
        assert (answer.status_code, answer.json()) == (200, {"accepted": True})
    assert await running.told() == messages
    found = await running.callbacks.next(running.job, running.token, 0)
    assert found
    assert before <= found[1].at <= await running.api.database.now()


async def test_no_token_of_a_user_is_asked_for_and_a_wrong_one_is_not_looked_at(running: Running) -> None:
    assert (await running.tell({"progress": 0.5}, Authorization="Bearer garbage")).status_code == 200


async def test_a_query_does_as_well(running: Running) -> None:
    query = {"action": "progress", "progress": "50", "progress_max": "100", "stage": "mosaic of fields", "node_id": "x"}
    assert (await running.outside.get(running.path(), params=query)).status_code == 200
    assert await running.told() == [query]


async def test_who_only_looks_at_the_address_tells_nothing(running: Running) -> None:
    problem(await running.outside.get(running.path()), 422)
    assert await running.told() == []


async def test_both_keys_verify_while_they_rotate(running: Running) -> None:
    assert (await running.tell({"progress": 0.5}, running.path(key=OLD_KEY))).status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_wrong_or_expired_address_is_refused(running: Running, method: str) -> None:
    own = running.path()
    refused = {
        running.path(key="a key of links that somebody else has made"): "not valid",
        own[:-1] + ("A" if own[-1] != "A" else "B"): "not valid",
        "/v1/callbacks/garbage": "not valid",
        "/v1/callbacks/%00%ff.%2e": "not valid",
        running.path(expires=timedelta(seconds=-1)): "expired",
    }
    for path, words in refused.items():
        message = {"state": "done"}
        answer = await (running.tell(message, path) if method == "POST" else running.outside.get(path, params=message))
        assert words in problem(answer, 403)["detail"]
    assert await running.told() == []
    assert (await running.tell({"progress": 0.5})).status_code == 200, "the right one still holds"


@pytest.mark.parametrize("last", ["done", "ready", "failed"])
async def test_nothing_is_taken_after_the_end(running: Running, last: str) -> None:
    assert (await running.tell({"state": last})).status_code == 200
    for message in ({"state": last}, {"state": "done"}, {"state": "running", "progress": 0.5}):
        assert "used up" in problem(await running.tell(message), 403)["detail"]
    assert await running.told() == [{"state": last}]


@pytest.mark.parametrize("how", [State.DONE, State.FAILED, State.CANCELLED])
async def test_an_attempt_that_is_over_takes_nothing(running: Running, how: State) -> None:
    await running.finish(Finish(how))
    assert "over" in problem(await running.tell({"state": "done"}), 403)["detail"]
    assert await running.told() == []


async def test_the_address_of_an_earlier_attempt_is_refused(api: Api) -> None:
    first = await at_work(api)
    await first.finish(Finish(State.QUEUED, hands_back=True))
    problem(await first.tell({"state": "done"}), 403)
    job = await first.claims.claim(("sum",), "another worker", A_LONG_LEASE)
    assert job
    second = Running(api, job)
    problem(await first.tell({"state": "done"}), 403)
    assert (await second.tell({"progress": 0.2})).status_code == 200
    assert (await first.told(), await second.told()) == ([], [{"progress": 0.2}])


async def test_the_address_of_a_job_that_is_gone_is_refused(running: Running) -> None:
    await running.api.jobs.delete_one({"_id": running.job.id})
    problem(await running.tell({"state": "done"}), 403)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"progress": 7}', 422, "progress"),
        (b'{"progress": NaN}', 422, "progress"),
        (b'{"progress": 1e999}', 422, "progress"),
        (b'{"progress": "a lot"}', 422, "progress"),
        (b'{"state": {"name": "done"}}', 422, "state"),
        (b'{"result": {"n": 123456789012345678901234567890}}', 422, "result.n"),
        (b'["done"]', 422, None),
        (b"done", 400, None),
        (b"", 400, None),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", 422, None),
        (b'{"message": "' + b"x" * rules.MOST_BYTES + b'"}', 413, None),
    ],
    ids=["too far", "NaN", "infinite", "words", "object", "integer", "list", "no JSON", "empty", "deep", "large"],
)
async def test_what_is_no_message_is_refused_and_changes_nothing(
    running: Running, body: bytes, status: int, field: str | None
) -> None:
    but_the_outbox = {"outbox": 0}  # which the relay empties at its own time
    before = await running.api.jobs.find_one({"_id": running.job.id}, but_the_outbox)
    problem(await running.outside.post(running.path(), content=body), status, field)
    assert await running.told() == []
    assert await running.api.jobs.find_one({"_id": running.job.id}, but_the_outbox) == before


async def test_a_query_is_judged_as_a_body_is(running: Running) -> None:
    for query in ({"progress": "7"}, {"progress": "nan"}, {"progress": "x", "state": "done"}):
        problem(await running.outside.get(running.path(), params=query), 422, "progress")
    assert await running.told() == []


async def test_equal_messages_are_two_unless_they_share_an_id(running: Running) -> None:
    for _ in range(2):
        assert (await running.tell({"stage": "fold"})).status_code == 200
        assert (await running.tell({"stage": "fold", "message_id": "a1"})).status_code == 200
        assert (await running.tell({"stage": "plot"}, **{"Idempotency-Key": "a2"})).status_code == 200
    assert len(await running.told()) == 4
    problem(await running.tell({"stage": "another", "message_id": "a1"}), 422, "message_id")
    assert len(await running.told()) == 4


async def test_a_repeat_of_the_end_under_its_id_is_answered_as_the_first_was(running: Running) -> None:
    done = {"state": "done", "message_id": "the end"}
    for _ in range(2):
        assert (await running.tell(done)).json() == {"accepted": True}
    assert await running.told() == [done]
    problem(await running.tell({"state": "done", "message_id": "another end"}), 403)


async def test_messages_that_come_at_once_are_all_kept_and_one_end_alone(running: Running) -> None:
    path = running.path()
    answers = await asyncio.gather(*(running.tell({"number": number}, path) for number in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(message["number"] for message in await running.told()) == list(range(20))
    ends = await asyncio.gather(*(running.tell({"state": "done", "number": number}, path) for number in range(5)))
    assert sorted(answer.status_code for answer in ends) == [200, 403, 403, 403, 403]
    same = {"state": "failed", "message_id": "x"}
    another = await at_work(running.api)
    assert {answer.status_code for answer in await asyncio.gather(*(another.tell(same) for _ in range(8)))} == {200}
    assert await another.told() == [same]


async def test_an_outside_system_cannot_fill_the_store(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_MESSAGES", 3)
    for _ in range(3):
        assert (await running.tell({"stage": "on"})).status_code == 200
    problem(await running.tell({"stage": "on"}), 429)
    assert (await running.tell({"state": "done"})).status_code == 200, "the end is always taken"
    another = await at_work(running.api)
    monkeypatch.setattr(rules, "MOST_TOTAL_BYTES", 60)
    assert (await another.tell({"stage": "x" * 30})).status_code == 200
    problem(await another.tell({"stage": "x" * 30}), 429)
    assert len(await another.told()) == 1


async def test_what_was_told_goes_with_the_address(running: Running) -> None:
    assert (await running.tell({"stage": "on"}, running.path(expires=timedelta(hours=1)))).status_code == 200
    stored: Any = await running.api.database.collection(CALLBACKS).find_one({"job": running.job.id})
    assert timedelta(minutes=59) < stored["expires_at"] - stored["at"] < timedelta(minutes=61)
    indexes = await running.api.database.collection(CALLBACKS).index_information()
    assert indexes["expiry"]["expireAfterSeconds"] == 0


async def test_neither_a_token_nor_a_query_is_logged(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(heliograph_api.problems._log, "error", lambda event, **fields: logged.append(fields))

    async def fails(*_: object) -> None:
        raise RuntimeError("something broke")

    monkeypatch.setattr(CallbackStore, "last", fails)
    path = running.path()
    async with httpx.AsyncClient(base_url=running.api.url) as client:
        answer = await client.get(path, params={"token": "a user's token"})
    problem(answer, 500)
    assert [entry["path"] for entry in logged] == ["/v1/callbacks/..."]
    assert path.rpartition("/")[2] not in answer.text
    metrics = (await running.outside.get("/metrics")).text
    assert path.rpartition("/")[2] not in metrics
    assert 'route="/v1/callbacks/{token}"' in metrics


async def test_without_the_database_it_is_asked_to_try_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(CallbackStore, "holds", away)
        answer = await running.tell({"state": "done"})
    problem(answer, 503)
    assert answer.headers["retry-after"]
    assert (await running.tell({"state": "done"})).status_code == 200


async def test_without_keys_there_are_no_such_addresses(mongodb_url: str) -> None:
    async with open_api(mongodb_url) as api:
        job = await at_work(api)
        assert "HELIOGRAPH_LINK_KEYS" in problem(await job.tell({"state": "done"}), 404)["detail"]


async def test_the_document_describes_it(api: Api) -> None:
    described = json.loads((await api.ada.get("/openapi.json")).text)["paths"]["/v1/callbacks/{token}"]
    assert {"get", "post"} == described.keys()
    assert "security" not in described["post"]
    assert {"200", "403", "413", "422", "429"} <= described["post"]["responses"].keys()
