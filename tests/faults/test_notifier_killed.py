"""A notifier that dies between planning and recording, and an event that comes twice: people get one mail."""

from signal import SIGKILL

import pytest

from heliograph.bus.topology import DEAD_QUEUE, TOLD_QUEUE
from heliograph.faults import Point
from heliograph.notices.store import Ledger
from tests.faults.subscriber import Subscriber
from tests.parts.services import BRIEF_SECONDS, Stage

pytestmark = pytest.mark.faults


async def outcomes(stage: Stage, job: str) -> list[list[str]]:
    """Return how the attempts at each of the job's notices ended."""
    return [[attempt.outcome for attempt in each.attempts] for each in await Ledger(stage.stores.database).of_job(job)]


@pytest.mark.parametrize(
    ("point", "first"),
    [(Point.PLANNED_NOT_SENT, ["sent"]), (Point.SENDING_NOT_SENT, ["unknown", "sent"])],
    ids=["after it planned", "after it said that it sends"],
)
async def test_killed_before_the_first_byte_was_out(stage: Stage, point: Point, first: list[str]) -> None:
    await stage.api.start()
    await stage.worker.start()
    await stage.notifier.start(fault_point=point, send_lease_seconds=BRIEF_SECONDS)
    job = await stage.submit()
    assert await stage.notifier.ended() == -SIGKILL
    assert not stage.mails.mails
    await stage.over(job)

    await stage.notifier.start()
    await stage.settled()
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}
    assert await outcomes(stage, job) == [first, ["sent"]]


async def test_killed_after_the_server_took_the_mail(stage: Stage) -> None:
    await stage.api.start()
    await stage.worker.start()
    await stage.notifier.start(fault_point=Point.SENT_NOT_RECORDED, send_lease_seconds=BRIEF_SECONDS)
    job = await stage.submit()
    assert await stage.notifier.ended() == -SIGKILL
    assert len(stage.mails.mails) == 1

    # Nobody knows whether it arrived. A second copy is what the policy prefers to none; both say that they are one.
    await stage.notifier.start()
    await stage.settled()
    assert stage.letters() == {("submitted", job.lower()): 2, ("done", job.lower()): 1}
    assert await outcomes(stage, job) == [["unknown", "sent"], ["sent"]]
    first, again, done = (mail["Message-ID"] for mail in stage.mails.mails)
    assert first == again != done


async def test_an_event_that_comes_again_sends_nothing(stage: Stage, subscriber: Subscriber) -> None:
    await stage.start()
    job = await stage.submit()
    await stage.over(job)
    await stage.settled()
    await subscriber.hear_all({job: 3})

    await subscriber.repeat([message for message in subscriber.messages for _ in range(2)])
    await subscriber.hear(lambda: all(count >= 3 for count in subscriber.seen.values()))
    assert await stage.notifier.stop() == 0  # it takes what has come before it goes
    assert [await subscriber.waiting(queue) for queue in (TOLD_QUEUE, DEAD_QUEUE)] == [0, 0]
    assert stage.letters() == {("submitted", job.lower()): 1, ("done", job.lower()): 1}
    assert await outcomes(stage, job) == [["sent"], ["sent"]]
