"""What a running job asks of its worker: children, memory of its own, calls from outside, room beside others."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from heliograph_worker.catalogue import Catalogue
from tests.backends_for_tests.asking import SOURCES
from tests.parts.api import Api, open_api
from tests.parts.notifier import until

LINK_KEY = "a key that signs links, of the tests and of nothing else"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An api and a worker of two slots, at work for all of these tests."""
    names = [source.removeprefix("tests.backends_for_tests.") for source in SOURCES]
    scratch = tmp_path_factory.mktemp("questions") / "scratch"
    async with open_api(mongodb_url, link_keys=(LINK_KEY,)) as api, api.worker(scratch, *names):
        yield api


async def run(api: Api, backend: str, **parameters: Any) -> dict[str, Any]:
    return await api.over(await api.submit(backend=backend, parameters=parameters))


async def children(api: Api, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await api.ada.get("/v1/jobs", params={"parent": job["id"]})
    return sorted(answer.raise_for_status().json()["items"], key=lambda child: str(child["id"]))


async def test_children_do_the_work_of_their_parent(api: Api) -> None:
    over = await run(api, "squares", number=5)
    assert (over["state"], over["result"]) == ("done", [0, 1, 4, 9, 16])
    made = await children(api, over)
    assert [(child["name"], child["owner"], child["state"]) for child in made] == [
        (f"part {number}", over["owner"], "done") for number in range(5)
    ]
    assert not {event.data.id for event in api.told} & {child["id"] for child in made}  # nobody is told of those


async def test_an_asynchronous_parent_hears_how_its_children_ended(api: Api) -> None:
    assert (await run(api, "squares-async"))["result"] == [4, "ValueError: negative"]


async def test_as_many_parents_as_there_are_slots_wait_for_children_that_run_all_the_same(api: Api) -> None:
    parents = [await api.submit(backend="squares", parameters={"number": 3}) for _ in range(5)]
    assert [(await api.over(parent))["result"] for parent in parents] == [[0, 1, 4]] * 5


async def test_parents_below_parents_do_not_starve_each_other(api: Api) -> None:
    parents = [await api.submit(backend="nested", parameters={"number": 4}) for _ in range(3)]
    assert [(await api.over(parent))["result"] for parent in parents] == [4] * 3


async def test_what_cannot_be_asked_is_refused_with_a_reason(api: Api) -> None:
    assert (await run(api, "wrong"))["result"] == [
        "UsageError: backend: no worker has announced a backend no-such",
        'UsageError: parameters.number: "many" is not of type "integer"',
        "UsageError: priority: above 0 is for these roles: admin, operator, queue manager",
        "ValueError: the job 01ARZ3NDEKTSV4RRFFQ69G5FAV is none of this job's children",
        "ValueError: remembered.number: nan is no JSON number; use null",
        "ValueError: remembered: takes more than 65,536 bytes as JSON",
        "ValueError: remembered.thing: builtins.object is no JSON value",
    ]


async def test_a_later_attempt_finds_what_it_remembered_and_the_children_it_had(api: Api) -> None:
    over = await run(api, "again")
    result = over["result"]
    assert result["before"] == {"attempt": 1, "child": result["child"]}
    assert result["now"] == {"attempt": 2, "child": result["child"]}
    assert [child["id"] for child in await children(api, over)] == [result["child"]]


async def test_a_later_attempt_gets_the_same_children_in_whatever_order(api: Api) -> None:
    over = await run(api, "shuffled")
    assert sorted(child["id"] for child in await children(api, over)) == over["result"]
    assert len(set(over["result"])) == 3


async def test_results_of_children_are_fetched_one_by_one(api: Api) -> None:
    assert (await run(api, "fat-parent", number=20))["result"] == 10 * 900_001 + 10 * 900_002


@pytest.mark.parametrize("number", range(5))
async def test_an_end_that_a_backend_forges_ends_its_job_once(api: Api, number: int) -> None:
    over = await run(api, "forge", number=number)
    assert (over["state"], over["attempt"], over["error"]["kind"]) == ("failed", 1, "fatal")


async def test_a_new_series_remembers_nothing(api: Api) -> None:
    over = await run(api, "again")
    await api.ada.post(f"/v1/jobs/{over['id']}/retry")
    assert (await api.over(over))["result"]["before"]["attempt"] == 1  # its own first attempt's


@pytest.mark.parametrize(
    ("knows", "result", "heard"),
    [
        ("running", "from outside", ["begun", "asked about 17", "asked about 17"]),
        ("done", "from outside", ["begun", "asked about 17"]),
        ("nothing", "from its own run", ["begun", "asked about 17", "begun"]),
    ],
)
async def test_an_outside_system_is_asked_before_a_job_is_begun_again(
    api: Api, tmp_path: Path, knows: str, result: str, heard: list[str]
) -> None:
    outside, begun = tmp_path / "outside", tmp_path / "begun"
    outside.write_text(knows)
    job = await api.submit(backend="outside", parameters={"file": str(outside), "begun": str(begun)})
    over = await api.over(job)
    assert (over["state"], over["attempt"], over["result"]) == ("done", 2, result)
    assert begun.read_text().splitlines() == heard


async def test_a_job_may_not_take_more_memory_than_its_backend_says(api: Api) -> None:
    assert (await run(api, "eat", number=50))["result"] == 50 * 1024 * 1024
    over = await run(api, "eat", number=300)
    assert (over["state"], over["error"]["kind"], over["error"]["message"]) == (
        "failed", "fatal", "the backend ran out of memory",
    )  # fmt: skip
    assert (await run(api, "square", number=2))["state"] == "done"


async def test_of_a_backend_that_says_so_one_runs_at_a_time_here(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "marks"
    folder.mkdir()
    jobs = [await api.submit(backend="one-here", parameters={"folder": str(folder)}) for _ in range(6)]
    assert [(await api.over(job))["result"] for job in jobs] == [1] * 6


async def test_an_outside_system_calls_back(api: Api) -> None:
    job = await api.submit(backend="listen")

    address = ""

    async def is_told() -> bool:
        nonlocal address
        address = str((await api.ada.get(f"/v1/jobs/{job['id']}")).json()["message"] or "")
        return bool(address)

    await until(is_told)
    async with httpx.AsyncClient() as outside:
        for body in ({"progress": 0.5}, {"progress": 0.75}, {"state": "done", "result": 11}):
            assert (await outside.post(address, json=body)).json() == {"accepted": True}
        assert (await api.over(job))["result"] == [0.5, 0.75, 11, None]
        late = await outside.post(address, json={"progress": 0.9})
    assert late.status_code == httpx.codes.FORBIDDEN


async def test_a_backend_that_is_paused_is_not_begun_until_it_is_resumed(api: Api) -> None:
    operator = api.client("olga@example.org", "operator")
    await operator.patch("/v1/backends/square", json={"paused": True})
    job: dict[str, Any] = {}

    async def is_left() -> bool:
        nonlocal job
        job = await api.submit(backend="square", parameters={"number": 3})
        assert (await run(api, "again"))["state"] == "done"  # with a child of the paused backend still waiting
        return bool((await api.ada.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued")

    await until(is_left)  # a worker hears of it within a second, where it has the time
    await operator.patch("/v1/backends/square", json={"paused": False})
    assert (await api.over(job))["result"] == 9


async def test_the_catalogue_of_these_is_whole() -> None:
    assert not Catalogue.of(SOURCES).broken
