"""A worker that dies, wherever it dies: its jobs run again and end once, and nothing of them is left behind."""

from signal import SIGKILL

import pytest

from heliograph.faults import Point
from tests.backends_for_tests import lives
from tests.faults.subscriber import Subscriber
from tests.parts.notifier import ADA
from tests.parts.services import BRIEF_SECONDS, Stage, until_true

pytestmark = pytest.mark.faults

RUN_TWICE = ["queued", "running", "queued", "running", "done"]


async def states(stage: Stage, job: str) -> list[str]:
    return [state for state, _ in await stage.history(job)]


async def test_killed_in_the_midst_of_a_job(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start(lease_seconds=BRIEF_SECONDS)
    gate, family = stage.folder / "gate", stage.folder / "family"
    job = await stage.submit(gate=gate, family=family)
    await until_true(family.exists)
    pids = [int(pid) for pid in family.read_text().split()]
    assert len(pids) == 3
    assert all(map(lives, pids))
    other = stage.another_worker("other")
    await other.start()

    await stage.worker.kill()
    await until_true(lambda: not any(map(lives, pids)))
    await stage.at_work(job, attempt=2)
    gate.touch()

    over = await stage.over(job)
    assert (over["state"], over["attempt"], over["result"]) == ("done", 2, {"attempt": 2})
    assert await states(stage, job) == RUN_TWICE
    assert [by for state, by in await stage.history(job) if state == "running"] == ["worker", "other"]
    await stage.settled()
    await subscriber.hear_all({job: 5})
    assert (stage.begun(job), stage.returned(job)) == ([1, 2], [2])
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}


@pytest.mark.parametrize(
    ("point", "runs"),
    [(Point.CLAIMED_NOT_STARTED, [2]), (Point.FINISHED_NOT_WRITTEN, [1, 2])],
    ids=["before the job began", "after it returned"],
)
async def test_killed_between_two_writes(stage: Stage, subscriber: Subscriber, point: Point, runs: list[int]) -> None:
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start(fault_point=point, lease_seconds=BRIEF_SECONDS)
    job = await stage.submit()
    assert await stage.worker.ended() == -SIGKILL
    await stage.another_worker("other").start()

    over = await stage.over(job)
    assert (over["state"], over["attempt"]) == ("done", 2)
    assert await states(stage, job) == RUN_TWICE
    await stage.settled()
    await subscriber.hear_all({job: 5})
    assert stage.begun(job) == runs
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}


async def test_killed_at_every_attempt(stage: Stage) -> None:
    await stage.api.start()
    await stage.notifier.start()
    await stage.worker.start(fault_point=Point.CLAIMED_NOT_STARTED, lease_seconds=BRIEF_SECONDS)
    job = await stage.submit(max_attempts=2)
    assert await stage.worker.ended() == -SIGKILL
    stage.worker.launch(fault_point=Point.CLAIMED_NOT_STARTED, lease_seconds=BRIEF_SECONDS)
    assert await stage.worker.ended() == -SIGKILL

    over = await stage.over(job)
    assert (over["state"], over["attempt"], over["error"]["kind"]) == ("failed", 2, "lost")
    assert await states(stage, job) == ["queued", "running", "queued", "running", "failed"]
    await stage.settled()
    assert stage.letters() == {("submitted", job.lower()): 1, ("failed", job.lower()): 1}


async def test_one_that_stood_still_cannot_end_what_is_another_s(stage: Stage) -> None:
    await stage.start(lease_seconds=BRIEF_SECONDS)
    gate = stage.folder / "gate"
    job = await stage.submit(gate=gate)
    await stage.at_work(job)
    stage.worker.suspend()
    gate.touch()
    await until_true(lambda: stage.returned(job))  # its worker has a result, and cannot say so
    gate.unlink()
    await stage.another_worker("other").start()
    await stage.at_work(job, attempt=2)

    stage.worker.resume()
    await until_true(lambda: "an end was not taken: the job is somebody else's" in stage.worker.warnings())
    held = await stage.job(job)
    assert (held["state"], held["attempt"], held["result"]) == ("running", 2, None)

    gate.touch()
    over = await stage.over(job)
    assert (over["state"], over["result"]) == ("done", {"attempt": 2})
    assert await stage.history(job) == [
        ("queued", ADA), ("running", "worker"), ("queued", "reconciler"), ("running", "other"), ("done", "other")
    ]  # fmt: skip


async def test_what_goes_on_outside_is_asked_for_before_it_is_begun_again(stage: Stage) -> None:
    await stage.start(lease_seconds=BRIEF_SECONDS)
    job = await stage.submit(backend="outside")
    await stage.at_work(job)
    await stage.worker.kill()
    await stage.another_worker("other").start()

    over = await stage.over(job)
    assert (over["state"], over["attempt"], over["result"]) == ("done", 2, {"outside": 17})
    assert stage.begun(job) == [1]
