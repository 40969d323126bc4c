"""An api that dies after the database took a job: the job, its event and its notices exist once all the same."""

import contextlib
from signal import SIGKILL

import httpx
import pytest

from heliograph.faults import Point
from tests.faults.subscriber import Subscriber
from tests.parts.services import Stage

pytestmark = pytest.mark.faults


async def leave_no_worker(stage: Stage) -> None:
    """Have a worker announce what it can do, and end: its relay would tell of a job's changes as it claims it."""
    await stage.worker.start()
    await stage.announced()
    assert await stage.worker.stop() == 0


async def test_killed_between_the_write_and_the_event(stage: Stage, subscriber: Subscriber) -> None:
    await leave_no_worker(stage)
    await stage.notifier.start()
    await stage.api.start(fault_point=Point.SUBMITTED_NOT_PUBLISHED)
    with pytest.raises(httpx.TransportError):
        await stage.post(key="night 12")
    assert await stage.api.ended() == -SIGKILL

    # The job is stored and its event comes, although its submitter knows nothing of it.
    await stage.api.start()
    await subscriber.hear(lambda: list(subscriber.states.values()) == ["queued"])
    again = await stage.post(key="night 12")
    assert again.status_code == httpx.codes.OK
    assert await stage.stores.collection.count_documents({}) == 1
    job = again.json()["id"]

    await stage.worker.start()
    over = await stage.over(job)
    assert (over["state"], over["attempt"]) == ("done", 1)
    await stage.settled()
    await subscriber.hear_all({job: 3})
    assert subscriber.states == {(job, 1): "queued", (job, 2): "running", (job, 3): "done"}
    assert stage.begun(job) == [1]
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}


async def test_its_relay_killed_before_it_noted_that_the_event_was_out(stage: Stage, subscriber: Subscriber) -> None:
    await leave_no_worker(stage)
    await stage.notifier.start()
    await stage.api.start(fault_point=Point.PUBLISHED_NOT_PULLED)
    with contextlib.suppress(httpx.TransportError):  # whether the answer or the death comes first is open
        await stage.post(key="night 12")
    assert await stage.api.ended() == -SIGKILL
    await subscriber.hear(lambda: subscriber.seen.total() == 1)

    await stage.api.start()
    await stage.worker.start()
    job = (await stage.post(key="night 12")).json()["id"]
    await stage.over(job)
    await stage.settled()
    await subscriber.hear_all({job: 3})
    await subscriber.hear(lambda: subscriber.seen[job, 1] >= 2)  # more where several relays find it
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}
