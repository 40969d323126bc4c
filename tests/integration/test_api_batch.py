"""Many submissions in one request: each is taken or refused by itself, and none is stored twice."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.client import Client
from heliograph.client import client as module
from heliograph.storage import StoreUnavailableError
from heliograph.wire.groups import BatchItem, BatchPage
from heliograph_api.body import MOST_DEPTH
from tests.parts.api import SUM, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BYTES = 2 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, most_batch_bytes=MOST_BYTES) as opened:
        yield opened


async def submit(api: Api, *jobs: Any, key: str | None = None, who: httpx.AsyncClient | None = None) -> list[Any]:
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer = await (who or api.ada).post("/v1/jobs/batch", json={"jobs": jobs}, headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    BatchPage.model_validate(answer.json())
    return list(answer.json()["items"])


async def test_each_is_judged_by_itself_and_answered_in_its_place(api: Api) -> None:
    before = await api.stored()
    items = await submit(
        api, SUM | {"name": "first"}, SUM | {"backend": "no such"}, 7, SUM | {"parameters": {"left": "x"}},
        {**SUM, "priority": True}, None, [], SUM | {"name": "last"},
    )  # fmt: skip
    assert [item["status"] for item in items] == [201, 422, 422, 422, 422, 422, 422, 201]
    assert [items[place]["job"]["name"] for place in (0, 7)] == ["first", "last"]
    assert [item["problem"]["errors"][0]["field"] for item in items[1:7]] == [
        "backend", "", "parameters.left", "priority", "", "",
    ]  # fmt: skip
    assert items[2]["problem"]["detail"] == "a submission is a JSON object"
    assert await api.stored() == before + 2
    shown = await api.ada.get(items[0]["job"]["links"]["self"])
    assert shown.json()["parameters"] == SUM["parameters"]


async def test_a_value_that_cannot_be_kept_is_the_fault_of_its_item_alone(api: Api) -> None:
    deep = "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1)
    faulty = [
        r'{"backend": "sum", "name": "\ud800"}',
        *('{"backend": "sum", "parameters": {"left": ' + value + "}}" for value in (str(2**63), "1e999", deep)),
    ]
    body = '{"jobs": [' + ", ".join([json.dumps(SUM), *faulty, json.dumps(SUM)]) + "]}"
    answer = await api.ada.post("/v1/jobs/batch", content=body)
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [201, 422, 422, 422, 422, 201]
    assert [item["problem"]["errors"][0]["field"] for item in items[1:4]] == [
        "name", "parameters.left", "parameters.left",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None), (b"{", 400, None), (b"[]", 422, ""), (b"7", 422, ""), (b"{}", 422, "jobs"),
        (b'{"jobs": {}}', 422, "jobs"), (b'{"jobs": []}', 422, "jobs"), (b'{"jobs": null}', 422, "jobs"),
        (b'{"jobs": [%s]}' % b",".join([b"7"] * 1001), 422, "jobs"), (b'{"jobs": [7], "more": 1}', 422, "more"),
        (b'{"jobs": [7], "\\ud800": 1}', 422, None), (b" " * (MOST_BYTES + 1), 413, None),
        (b"[" * 300 + b"]" * 300, 422, ""),
    ],
)  # fmt: skip
async def test_an_envelope_of_nonsense_is_refused_whole(
    api: Api, body: bytes, status: int, field: str | None
) -> None:  # fmt: skip
    before = await api.stored()
    problem(await api.ada.post("/v1/jobs/batch", content=body), status, field)
    assert await api.stored() == before


async def test_a_repeat_under_the_same_key_stores_nothing_twice(api: Api) -> None:
    jobs = [SUM | {"name": f"repeated {number}"} for number in range(20)]
    first = await submit(api, *jobs, key="repeated")
    before = await api.stored()
    again, *rest = await asyncio.gather(*(submit(api, *jobs, key="repeated") for _ in range(3)))
    assert {item["status"] for item in first} == {201}
    for items in (again, *rest):
        assert {item["status"] for item in items} == {200}
        assert [item["job"]["id"] for item in items] == [item["job"]["id"] for item in first]
    assert await api.stored() == before
    other = await submit(api, SUM | {"name": "another"}, jobs[1], key="repeated")
    assert [item["status"] for item in other] == [422, 200]
    assert other[0]["problem"]["errors"][0]["field"] == "Idempotency-Key"


async def test_a_repeat_in_another_order_or_of_another_length_stores_nothing_twice(api: Api) -> None:
    first, second, third = ({**SUM, "name": f"{name} of the order"} for name in ("first", "second", "third"))
    taken = [item["job"]["id"] for item in await submit(api, first, second, third, key="order")]
    before = await api.stored()
    turned = await submit(api, third, second, first, key="order")
    assert [item["status"] for item in turned] == [422, 200, 422]
    assert turned[1]["job"]["id"] == taken[1]
    fewer = await submit(api, first, second, key="order")
    assert [(item["status"], item["job"]["id"]) for item in fewer] == [(200, taken[0]), (200, taken[1])]
    assert await api.stored() == before
    more = await submit(api, first, second, third, first, key="order")
    assert [item["status"] for item in more] == [200, 200, 200, 201]


async def test_the_key_of_a_single_submission_is_never_that_of_an_item(api: Api) -> None:
    alone = {**SUM, "name": "alone"}
    for number, between in enumerate(("#", "/", ":", "")):
        key = f"night {number}."
        [item] = await submit(api, SUM, key=key)
        single = await api.ada.post("/v1/jobs", json=alone, headers={"Idempotency-Key": f"{key}{between}0"})
        assert (item["status"], single.status_code) == (201, 201), between
        [again] = await submit(api, SUM, key=key)
        assert (again["status"], again["job"]["id"]) == (200, item["job"]["id"])


async def test_the_longest_key_of_a_submission_is_good_for_a_batch(api: Api) -> None:
    for status in (201, 200):
        assert [item["status"] for item in await submit(api, SUM, SUM, key="x" * 255)] == [status, status]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_a_key_that_is_none_is_refused_whole(api: Api, key: str) -> None:
    answer = await api.ada.post("/v1/jobs/batch", json={"jobs": [SUM]}, headers={"Idempotency-Key": key})
    problem(answer, 422, "Idempotency-Key")


async def test_what_takes_a_role_is_refused_alone(api: Api) -> None:
    items = await submit(api, SUM | {"priority": 5}, SUM)
    assert [item["status"] for item in items] == [422, 201]
    assert items[0]["problem"]["errors"][0]["field"] == "priority"
    problem(await api.client(None).post("/v1/jobs/batch", json={"jobs": [SUM]}), 401)


async def test_a_thousand_are_taken_in_one_request(api: Api) -> None:
    jobs = [SUM | {"group": "a thousand", "name": str(number)} for number in range(1000)]
    began = time.monotonic()
    items = await submit(api, *jobs, key="a thousand")
    took = time.monotonic() - began
    assert [item["job"]["name"] for item in items] == [job["name"] for job in jobs]
    assert await api.stored(group="a thousand") == 1000
    assert took < 25, took  # it takes 0.5 s; a busy machine gets its time


async def test_what_is_stored_stays_so_when_the_database_goes_in_the_midst(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is not known is answered with 503, and a repeat under the same key finds the others."""
    inserts = api.app.state.parts.intake._jobs._store._inserts
    write, batches = inserts._write, itertools.count()

    async def flaky(documents: Any) -> Any:
        if next(batches) < 2:
            return await write(documents)
        raise StoreUnavailableError

    monkeypatch.setattr(inserts, "_write", flaky)
    jobs = [SUM | {"group": "interrupted"}] * 300
    items = await submit(api, *jobs, key="interrupted")
    by_status = {status: [item for item in items if item["status"] == status] for status in (201, 503)}
    assert len(by_status[201]) + len(by_status[503]) == 300
    assert by_status[201]
    assert by_status[503]
    assert await api.stored(group="interrupted") == len(by_status[201])
    assert "again" in by_status[503][0]["problem"]["detail"]
    monkeypatch.undo()
    repeated = await submit(api, *jobs, key="interrupted")
    assert [item["status"] for item in repeated] == [200 if item["status"] == 201 else 201 for item in items]
    assert await api.stored(group="interrupted") == 300


async def test_the_client_sends_many_in_requests_of_a_thousand(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is answered with 503 at first, and repeated."""
    monkeypatch.setattr(module, "MOST_IN_BATCH", 3)
    jobs = [SUM | {"group": "by the client", "name": str(number)} for number in range(7)]
    jobs[2] = {"backend": "no such"}
    inserts = api.app.state.parts.intake._jobs._store._inserts
    write, batches = inserts._write, itertools.count()

    async def flaky(documents: Any) -> Any:
        if next(batches) == 1:
            raise StoreUnavailableError
        return await write(documents)

    monkeypatch.setattr(inserts, "_write", flaky)

    def work() -> tuple[list[BatchItem], list[BatchItem]]:
        with Client(api.url, api.ada.headers["authorization"].removeprefix("Bearer ")) as client:
            return client.submit_many(jobs, key="mine"), client.submit_many(iter(jobs), key="mine")

    first, again = await asyncio.to_thread(work)
    assert [item.job and item.job.name for item in first] == ["0", "1", None, "3", "4", "5", "6"]
    assert first[2].problem is not None
    assert first[2].problem.detail.startswith("backend: ")
    assert [item.job and item.job.id for item in again] == [item.job and item.job.id for item in first]
    assert await api.stored(group="by the client") == 6
