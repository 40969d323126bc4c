"""Jobs that belong to others, and jobs that come after others, as clients ask for them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph.admission.relations import MOST_LEVELS
from heliograph.errors import InvalidInputError
from heliograph.ids import new_id
from heliograph.jobs.children import Children
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import ClaimStore, JobStore, TreeStore
from heliograph.wire.groups import TreeView
from tests.parts.api import ADA, SUM, Api, open_api, problem
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


async def state(api: Api, job: dict[str, Any]) -> str:
    return str((await api.ada.get(f"/v1/jobs/{job['id']}")).json()["state"])


async def cancel(api: Api, job: dict[str, Any], who: httpx.AsyncClient | None = None) -> httpx.Response:
    return await (who or api.ada).post(f"/v1/jobs/{job['id']}/cancel")


async def tree(api: Api, job: dict[str, Any], who: httpx.AsyncClient | None = None) -> TreeView:
    answer = await (who or api.ada).get(f"/v1/jobs/{job['id']}/tree")
    assert answer.status_code == httpx.codes.OK, answer.text
    return TreeView.model_validate(answer.json())


async def listed(api: Api, **query: Any) -> list[str]:
    answer = await api.ada.get("/v1/jobs", params=query)
    return [job["id"] for job in answer.json()["items"]]


async def hold(api: Api, job: dict[str, Any]) -> Job:
    """Claim this job, for a worker that does nothing more."""
    await api.jobs.update_one({"_id": job["id"]}, {"$set": {"priority": 900}})
    held = await ClaimStore(api.database).claim(["sum"], "worker of nobody", timedelta(hours=1))
    assert held is not None
    assert held.id == job["id"]
    return held


# Trees.


async def test_a_child_knows_its_place_and_inherits_the_group(api: Api) -> None:
    root = await api.submit(group="survey")
    child = await api.submit(parent=root["id"])
    grandchild = await api.submit(parent=child["id"], group="its own")
    assert (root["parent"], root["ancestors"]) == (None, [])
    assert (child["parent"], child["ancestors"], child["group"]) == (root["id"], [root["id"]], "survey")
    assert (grandchild["ancestors"], grandchild["group"]) == ([root["id"], child["id"]], "its own")
    assert await listed(api, parent=root["id"]) == [child["id"]]
    assert await listed(api, ancestor=root["id"]) == [grandchild["id"], child["id"]]
    problem(await api.ada.get("/v1/jobs", params={"ancestor": "a\x00b"}), 422, "ancestor")


async def test_a_parent_is_the_submitter_s_to_change(api: Api) -> None:
    root = await api.submit()
    body = SUM | {"parent": root["id"]}
    problem(await api.bob.post("/v1/jobs", json=body), 422, "parent")  # it is not his to see
    problem(await api.client("maya", "job manager").post("/v1/jobs", json=body), 403)  # to see, not to change
    assert (await api.client("olga", "operator").post("/v1/jobs", json=body)).status_code == httpx.codes.CREATED
    problem(await api.ada.post("/v1/jobs", json=SUM | {"parent": new_id()}), 422, "parent")
    problem(await api.ada.post("/v1/jobs", json=SUM | {"parent": "short"}), 422, "parent")


async def test_a_tree_has_at_most_twenty_levels_below_its_root(api: Api) -> None:
    job = await api.submit()
    for _ in range(MOST_LEVELS):
        job = await api.submit(parent=job["id"])
    assert len(job["ancestors"]) == MOST_LEVELS
    problem(await api.ada.post("/v1/jobs", json=SUM | {"parent": job["id"]}), 422, "parent")


async def test_a_tree_is_read_in_one_request(api: Api) -> None:
    root = await api.submit()
    children = [await api.submit(parent=root["id"]) for _ in range(52)]
    grandchild = await api.submit(parent=children[0]["id"])
    await cancel(api, children[0])
    found = await tree(api, root)
    assert (found.id, found.state, found.total) == (root["id"], State.QUEUED, 53)
    assert (found.counts[State.CANCELLED], found.counts[State.QUEUED], found.counts[State.DONE]) == (2, 51, 0)
    assert found.progress == pytest.approx(2 / 53)
    assert [job.id for job in found.children.items] == [job["id"] for job in children[:1:-1]]
    assert await listed(api, parent=root["id"], cursor=found.children.next) == [job["id"] for job in children[1::-1]]
    leaf = await tree(api, grandchild)
    assert (leaf.total, leaf.progress, leaf.children.items) == (0, 1.0, [])
    problem(await api.bob.get(f"/v1/jobs/{root['id']}/tree"), 404)


async def test_cancelling_a_job_cancels_what_descends_from_it_and_nothing_else(api: Api) -> None:
    above = await api.submit()
    root = await api.submit(parent=above["id"])
    children = [await api.submit(parent=root["id"]) for _ in range(5)]
    grandchildren = [await api.submit(parent=child["id"]) for child in children]
    sibling = await api.submit(parent=above["id"])
    held = await hold(api, grandchildren[0])
    wishes: list[str] = []
    wishing = await api.bus.subscribe_wishes("worker of nobody", wishes.append)
    assert (await cancel(api, root)).json()["state"] == "cancelled"
    await until(lambda: wishes == [held.id])
    await wishing.close()
    assert {await state(api, job) for job in (*children, *grandchildren[1:])} == {"cancelled"}
    running = (await api.ada.get(f"/v1/jobs/{held.id}")).json()
    assert (running["state"], running["cancel_requested"]) == ("running", True)
    assert {await state(api, job) for job in (above, sibling)} == {"queued"}
    problem(await cancel(api, root), 409)


async def test_the_rest_of_a_tree_can_be_cancelled_when_its_root_is_over(api: Api) -> None:
    root = await api.submit()
    child = await api.submit(parent=root["id"])
    await api.jobs.update_one({"_id": root["id"]}, {"$set": {"state": "done"}})
    late = await api.submit(parent=root["id"])  # what is over may have further children
    assert (await cancel(api, root)).json()["state"] == "done"
    assert {await state(api, job) for job in (child, late)} == {"cancelled"}
    problem(await cancel(api, root), 409)


async def test_a_cancelled_job_takes_no_children(api: Api) -> None:
    root = await api.submit()
    child = await api.submit(parent=root["id"])
    await api.jobs.update_one({"_id": child["id"]}, {"$set": {"state": "done"}})
    await cancel(api, root)
    held = await api.submit()
    await hold(api, held)
    await cancel(api, held)
    for parent in (root, child, held):  # the second is done, in a tree that was cancelled above it
        problem(await api.ada.post("/v1/jobs", json=SUM | {"parent": parent["id"]}), 409)
    await api.ada.post(f"/v1/jobs/{root['id']}/retry")
    assert (await api.submit(parent=child["id"]))["state"] == "queued"


async def test_a_child_that_is_run_again_takes_children_in_its_cancelled_tree(api: Api) -> None:
    root = await api.submit()
    child = await api.submit(parent=root["id"])
    await cancel(api, root)
    await api.ada.post(f"/v1/jobs/{child['id']}/retry")
    assert (await api.submit(parent=child["id"]))["state"] == "queued"


async def test_a_child_that_is_submitted_while_its_tree_is_cancelled_does_not_escape(api: Api) -> None:
    root = await api.submit()
    middle = await api.submit(parent=root["id"])
    bodies = [SUM | {"parent": parent["id"]} for parent in (root, middle)] * 20
    answers = [asyncio.create_task(api.ada.post("/v1/jobs", json=body)) for body in bodies]
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    await cancel(api, root)
    codes = [(await answer).status_code for answer in answers]
    assert set(codes) <= {httpx.codes.CREATED, httpx.codes.CONFLICT}
    assert (await tree(api, root)).counts[State.CANCELLED] == codes.count(httpx.codes.CREATED) + 1


async def test_a_child_that_was_admitted_before_and_stored_after_is_cancelled(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await api.submit()
    store = api.app.state.parts.jobs._store
    insert = store.insert

    async def late(new: Any) -> Any:
        monkeypatch.undo()
        assert (await cancel(api, root)).json()["state"] == "cancelled"
        return await insert(new)

    monkeypatch.setattr(store, "insert", late)
    answer = await api.ada.post("/v1/jobs", json=SUM | {"parent": root["id"]})
    assert (answer.status_code, answer.json()["state"]) == (httpx.codes.CREATED, "cancelled")


# What comes after other jobs.


async def test_a_job_waits_for_another_and_then_runs(api: Api, tmp_path: Path) -> None:
    first = await api.submit()
    second = await api.submit(after=[first["id"], first["id"]])
    third = await api.submit(after=[second["id"], first["id"]])
    assert (second["after"], second["waits_for"]) == ([first["id"]], [first["id"]])
    async with api.worker(tmp_path, "good:add"):
        ended = await api.over(third)
    assert (ended["state"], ended["waits_for"], ended["after"]) == ("done", [], [second["id"], first["id"]])
    again = await api.submit(after=[third["id"]])
    assert (again["after"], again["waits_for"]) == ([third["id"]], [])  # it is over already


async def test_a_job_that_waits_for_one_that_failed_is_cancelled_and_can_be_run_again(api: Api) -> None:
    first = await api.submit()
    second = await api.submit(after=[first["id"]])
    third = await api.submit(after=[first["id"]], after_condition="over")
    await cancel(api, first)
    ended = await api.over(second)
    assert (ended["state"], ended["error"]["kind"]) == ("cancelled", "cancelled")
    assert ended["error"]["message"] == f"the job {first['id']}, which it waits for, was cancelled"
    late = await api.submit(after=[first["id"]])
    assert late["state"] == "cancelled"
    await until(lambda: is_released(api, third))
    again = await api.ada.post(f"/v1/jobs/{second['id']}/retry")
    assert (again.json()["state"], again.json()["waits_for"]) == ("queued", [])


async def is_released(api: Api, job: dict[str, Any]) -> bool:
    return not (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["waits_for"]


async def test_what_it_comes_after_lies_within_the_caller_s_sight(api: Api) -> None:
    mine, hers = await api.submit(api.bob), await api.submit()
    before = await api.stored()
    answer = await api.bob.post("/v1/jobs", json=SUM | {"after": [mine["id"], hers["id"], new_id()]})
    assert [fault["field"] for fault in problem(answer, 422)["errors"]] == ["after.1", "after.2"]
    for after in (["short"], [7], "none", [new_id()] * 1001):
        problem(await api.ada.post("/v1/jobs", json=SUM | {"after": after}), 422)
    assert await api.stored() == before


# What a job submits itself.


@pytest.fixture
def children(api: Api) -> Children:
    return Children(api.app.state.parts.intake, TreeStore(api.database))


async def parent_of(api: Api, who: httpx.AsyncClient | None = None, **fields: Any) -> Job:
    return await JobStore(api.database).get((await api.submit(who, **fields))["id"])


async def test_a_job_submits_for_its_owner_with_the_roles_of_its_submitter(api: Api, children: Children) -> None:
    operator = api.client("olga", "operator", "astronomer")
    parent = await parent_of(api, operator, group="survey", notify=False)
    assert set(parent.roles) == {"operator", "astronomer"}
    child = await children.submit(parent, 1, SUM | {"priority": 3})
    assert (child.owner, child.parent, child.ancestors) == ("olga", parent.id, (parent.id,))
    assert (child.group, child.roles, child.priority) == ("survey", parent.roles, 3)
    assert child.notify == {"told": False}
    grandchild = await children.submit(child, 1, SUM | {"parent": child.id})
    assert grandchild.ancestors == (parent.id, child.id)


async def test_a_child_is_told_of_where_it_says_so_as_its_parent_s_submitter_wished(
    api: Api, children: Children
) -> None:
    parent = await parent_of(api, api.client(ADA, tem=90.0, mssub=True))
    child = await children.submit(parent, 1, SUM | {"notify": True})
    assert child.notify == parent.notify
    quiet = await children.submit(parent, 2, SUM | {"notify": {"email": {"submitted": False}}})
    assert quiet.notify == parent.notify | {"asked": [{"channel": "email", "recipient": "", "submitted": False}]}


async def test_a_child_of_a_confidential_job_is_told_of_in_confidence(api: Api, children: Children) -> None:
    parent = await parent_of(api, api.client(ADA), notify={"confidential": True})
    for number, asked in enumerate((True, {"urgent": True}, {"confidential": False}), 1):
        child = await children.submit(parent, number, SUM | {"notify": asked})
        assert child.notify["confidential"]
    assert (await children.submit(parent, 9, SUM)).notify == {"told": False}


async def test_a_later_attempt_gets_the_same_children(api: Api, children: Children) -> None:
    parent = await parent_of(api)
    first = await asyncio.gather(*(children.submit(parent, 1, SUM | {"name": "a"}) for _ in range(3)))
    assert len({child.id for child in first}) == 1
    others = [
        await children.submit(parent, 2, SUM | {"name": "a"}), await children.submit(parent, 1, SUM | {"name": "b"}),
        await children.submit(await parent_of(api), 1, SUM | {"name": "a"}),
    ]  # fmt: skip
    assert len({child.id for child in (first[0], *others)}) == 4


async def test_a_child_that_is_refused_says_why(api: Api, children: Children) -> None:
    parent = await parent_of(api)
    for wrong in ({"backend": "none"}, {"parent": new_id()}, {"priority": 3}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            await children.submit(parent, 1, SUM | wrong)


async def test_a_job_sees_what_descends_from_it_alone(api: Api, children: Children) -> None:
    parent = await parent_of(api)
    child = await children.submit(parent, 1, SUM)
    grandchild = await children.submit(child, 1, SUM)
    await api.jobs.update_one({"_id": child.id}, {"$set": {"state": "done", "result": '{"total": 5}'}})
    await JobStore(api.database).cancel(grandchild.id, ADA)
    assert await children.states(parent, [grandchild.id, child.id]) == [State.CANCELLED, State.DONE]
    second, first = [await children.look_at(parent, each) for each in (grandchild.id, child.id)]
    assert (first.id, first.state, first.result, first.error) == (child.id, State.DONE, {"total": 5}, None)
    assert (second.id, second.is_over, second.result) == (grandchild.id, True, None)
    assert second.error is not None
    assert second.error.kind == "cancelled"
    for stranger in (parent.id, new_id(), (await parent_of(api)).id):
        with pytest.raises(ValueError, match="none of this job's children"):
            await children.states(parent, [child.id, stranger])
        with pytest.raises(ValueError, match="none of this job's children"):
            await children.look_at(parent, stranger)
