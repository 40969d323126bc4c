"""What a group amounts to, in one request, within what the caller may see."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.ids import new_id
from heliograph.jobs.states import State
from heliograph.jobs.store.documents import new_document
from heliograph.wire.groups import GroupView
from tests.parts.api import ADA, BOB, Api, open_api, problem
from tests.parts.jobs import new_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def store(api: Api, group: str, owner: str, *states: State) -> list[str]:
    """Store jobs in these states; each was submitted, and ended where it did, a minute after the one before it."""
    documents: list[Any] = []
    for number, state in enumerate(states):
        at = BEGIN + timedelta(minutes=number)
        document = new_document(new_job(id=new_id(), group=group, owner=owner, name=f"job {number}"), at)
        document |= {"state": state.value, "outbox": [], "notices_due": []}
        if state is State.FAILED:
            document["error"] = {"kind": "fatal", "message": f"the star {number} is gone", "traceback": None}
        if state in {State.DONE, State.FAILED, State.CANCELLED}:
            document["ended_at"] = at + timedelta(hours=1)
        documents.append(document)
    await api.jobs.insert_many(documents)
    return [document["_id"] for document in documents]


async def read(api: Api, group: str, who: httpx.AsyncClient | None = None, **query: str) -> GroupView:
    answer = await (who or api.ada).get(f"/v1/groups/{group}", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return GroupView.model_validate(answer.json())


async def test_a_group_at_work(api: Api) -> None:
    await store(api, "at work", ADA, State.QUEUED, State.RUNNING, State.DONE, State.DONE)
    group = await read(api, "at work")
    assert (group.group, group.state, group.total, group.progress) == ("at work", State.RUNNING, 4, 0.5)
    assert group.counts == dict.fromkeys(State, 0) | {State.QUEUED: 1, State.RUNNING: 1, State.DONE: 2}
    assert (group.created_at, group.ended_at, group.failed) == (BEGIN, None, [])


async def test_a_group_that_is_over_says_when_and_what_failed_first(api: Api) -> None:
    ids = await store(api, "over", ADA, State.DONE, *[State.FAILED] * 25, State.CANCELLED)
    group = await read(api, "over")
    assert (group.state, group.progress, group.created_at) == (State.FAILED, 1.0, BEGIN)
    assert group.ended_at == BEGIN + timedelta(hours=1, minutes=26)
    assert [each.id for each in group.failed] == ids[1:21]
    assert (group.failed[0].name, group.failed[0].message) == ("job 1", "the star 1 is gone")


async def test_a_name_may_hold_anything_that_a_submission_takes(api: Api) -> None:
    name = "M 31/field #4?x=1 · 50 %"
    job = await api.submit(group=name)
    answer = await api.ada.get("/v1/groups/M%2031%2Ffield%20%234%3Fx=1%20%C2%B7%2050%20%25")
    assert answer.json()["group"] == job["group"] == name
    assert (await read(api, name.replace("%", "%25").replace("#", "%23").replace("?", "%3F"))).total == 1


async def test_each_sees_their_own_part_and_who_sees_all_sees_all(api: Api) -> None:
    await store(api, "shared", ADA, State.DONE, State.DONE)
    await store(api, "shared", BOB, State.FAILED)
    assert (await read(api, "shared")).counts[State.FAILED] == 0
    assert (await read(api, "shared", api.bob)).state is State.FAILED
    assert (await read(api, "shared", owner=ADA)).total == 2
    operator = api.client("olga", "operator")
    assert (await read(api, "shared", operator)).total == 3
    assert (await read(api, "shared", operator, owner=BOB)).total == 1
    problem(await api.bob.get("/v1/groups/shared", params={"owner": ADA}), 403)
    problem(await operator.get("/v1/groups/shared", params={"owner": "nobody"}), 404)
    problem(await api.client("eve").get("/v1/groups/shared"), 404)
    problem(await api.client(None).get("/v1/groups/shared"), 401)


@pytest.mark.parametrize("path", ["none", "", "a%00b", "%ff", "$group", "a/b/c"])
async def test_there_is_no_group_without_jobs(api: Api, path: str) -> None:
    problem(await api.ada.get(f"/v1/groups/{path}"), 404)


async def test_a_question_that_is_misspelt_is_refused(api: Api) -> None:
    await store(api, "asked", ADA, State.DONE)
    problem(await api.ada.get("/v1/groups/asked", params={"state": "done"}), 422, "state")


async def test_a_group_is_counted_without_a_look_at_its_jobs(api: Api) -> None:
    """Of 500 jobs, none of which failed, the server reads the first, for its time."""
    await store(api, "many", ADA, *[State.DONE] * 500)
    database: Any = api.database.raw
    await database.command("profile", 2)
    for who in (api.ada, api.client("olga", "operator")):
        assert (await read(api, "many", who)).total == 500
    await database.command("profile", 0)
    seen = await database["system.profile"].find(
        {"ns": f"{database.name}.jobs", "command.pipeline.0.$match.group": "many"}
    ).to_list(10)  # fmt: skip
    assert len(seen) == 2
    for one in seen:
        assert one["planSummary"].startswith("IXSCAN { group: 1, owner: 1, state: 1"), one
        assert one["docsExamined"] == 0, one
