"""Everything dies while every place within a limit is taken: no place stays taken."""

import pytest

from tests.parts.notifier import until
from tests.parts.services import BRIEF_SECONDS, Stage

pytestmark = pytest.mark.faults

PLACES = 3  # as the backend `narrow` says


async def test_no_place_is_lost_with_those_who_held_it(stage: Stage) -> None:
    await stage.start(lease_seconds=BRIEF_SECONDS)
    gate = stage.folder / "gate"
    jobs = [await stage.submit(backend="narrow", gate=gate, mark=str(number)) for number in range(PLACES + 2)]
    for job in jobs[:PLACES]:
        await stage.at_work(job)
    assert await held(stage) == PLACES

    for service in (stage.api, stage.notifier, stage.worker):  # in this order, or the api could take the jobs back
        await service.kill()
    assert await held(stage) == PLACES  # nobody is left who could say otherwise; the leases will
    gate.touch()
    await stage.api.start()
    other = stage.another_worker("other")
    await other.start()

    ended = [await stage.over(job) for job in jobs]
    assert [(job["state"], job["attempt"]) for job in ended] == [("done", 2)] * PLACES + [("done", 1)] * 2
    assert await held(stage) == 0
    assert stage.most_at_once() <= PLACES


async def test_two_workers_never_hold_more_together(stage: Stage) -> None:
    await stage.start()
    await stage.another_worker("other").start()
    gate = stage.folder / "gate"
    jobs = [await stage.submit(backend="narrow", gate=gate, mark=str(number)) for number in range(PLACES + 3)]

    async def full() -> bool:
        return await held(stage) == PLACES

    await until(full)
    gate.touch()
    assert {(await stage.over(job))["state"] for job in jobs} == {"done"}
    assert stage.most_at_once() <= PLACES


async def held(stage: Stage) -> int:
    return await stage.stores.collection.count_documents({"slots": {"$exists": True}})
