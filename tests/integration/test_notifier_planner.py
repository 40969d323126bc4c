"""What is planned is planned once, however often and by however many it is announced."""

import asyncio
from datetime import timedelta
from typing import Any

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store.claims import Finish
from heliograph.notices.due import DueStore
from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import DeliveryStatus, Occasion
from tests.parts.jobs import Stores, failed, lease_of
from tests.parts.notifier import ADA, desk, told, until, wish
from tests.parts.smtp import MailServer

SUPPRESSED, PLANNED = DeliveryStatus.SUPPRESSED, DeliveryStatus.PLANNED


async def age(stores: Stores, seconds: float = 60) -> None:
    """Make every note to the planner older, as if no event had come."""
    past = {"$map": {"input": "$notices_due", "in": {"seq": "$$this.seq", "at": {
        "$subtract": ["$$this.at", int(seconds * 1000)]}}}}  # fmt: skip
    await stores.collection.update_many({}, [{"$set": {"notices_due": past}}])


async def test_each_told_change_becomes_a_delivery_and_the_note_goes(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await notifier.finished_job()
        deliveries = await notifier.plan(job)
    assert [(each.occasion, each.seq, each.status) for each in deliveries] == [
        (Occasion.SUBMITTED, 1, PLANNED),
        (Occasion.DONE, 3, PLANNED),
    ]
    assert (await stores.stored(job))["notices_due"] == []


async def test_the_same_event_twice_is_one_delivery(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(notify=told())
        (event,) = await notifier.events(job)
        await notifier.planner.handle(event)
        await notifier.planner.handle(event)
        assert len(await notifier.ledger.of_job(job.id)) == 1


async def test_a_crash_before_the_note_is_taken_out_repeats_nothing(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(notify=told(wish(interval_seconds=3600)))
        noted = (await stores.stored(job))["notices_due"]
        (before,) = await notifier.plan(job)
        await stores.collection.update_one({"_id": job.id}, {"$set": {"notices_due": noted}})
        assert await notifier.plan(job) == [before]
        assert before.status is PLANNED


async def test_two_planners_at_once_make_one_delivery_each(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as one, desk(stores, mail_server) as other:
        jobs = [await stores.submit(notify=told(wish(interval_seconds=60)), identity=str(n)) for n in range(20)]
        events = [(await one.events(job))[0] for job in jobs]
        await asyncio.gather(*(each.planner.handle(event) for event in events for each in (one, other)))
        for job in jobs:
            (delivery,) = await one.ledger.of_job(job.id)
            assert delivery.status is PLANNED  # neither took the interval away from the other


async def test_the_sweep_finds_what_no_event_announced(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await notifier.finished_job()
        await notifier.planner.sweep()
        assert await notifier.ledger.of_job(job.id) == []  # young: the event is on its way
        await age(stores)
        await notifier.planner.sweep()
        assert len(await notifier.ledger.of_job(job.id)) == 2
        assert await DueStore(stores.database).stale() == []


async def test_an_event_of_the_bus_is_planned_before_it_counts_as_taken(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier, MemoryBus() as bus:
        subscription = await bus.subscribe_told(notifier.planner.handle)
        relay = Relay(stores.outbox, stores.followers, bus)
        running = asyncio.create_task(relay.run())
        job = await stores.submit(notify=told())
        relay.nudge(job.id)
        await until(lambda: has_an_empty_outbox(stores, job.id))
        assert len(await notifier.ledger.of_job(job.id)) == 1
        running.cancel()
        await asyncio.wait({running})
        await subscription.close()


async def has_an_empty_outbox(stores: Stores, job: str) -> bool:
    return not (await stores.stored(job))["outbox"]


async def test_nobody_wished_nobody_is_told_and_the_note_goes(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await notifier.finished_job(notify={"told": True, "wishes": []})
        assert await notifier.plan(job) == []
        assert (await stores.stored(job))["notices_due"] == []


async def test_a_wish_that_cannot_be_read_keeps_nobody_else_from_being_told(
    stores: Stores, mail_server: MailServer
) -> None:
    broken: Any = "ada"
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(notify=told({"recipient": "x"}, broken, wish()))
        assert [each.recipient for each in await notifier.plan(job)] == [ADA]


async def test_what_is_suppressed_is_kept_with_its_reason(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await notifier.finished_job(notify=told(wish(submitted=False, threshold_seconds=1800)))
        submitted, done = await notifier.plan(job)
        assert (submitted.status, done.status) == (SUPPRESSED, SUPPRESSED)
        assert submitted.reason.startswith("submitted-not-wished: ")
        assert done.reason.startswith("done-below-threshold: took ")


async def test_the_same_request_is_told_once_in_an_interval(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        statuses = []
        for identity, recipient in (("a", ADA), ("a", ADA), ("b", ADA), ("a", "grace@example.org")):
            wishes = told(wish(recipient, interval_seconds=3600))
            (delivery,) = await notifier.plan(await stores.submit(notify=wishes, identity=identity))
            statuses.append(delivery.status)
    assert statuses == [PLANNED, SUPPRESSED, PLANNED, PLANNED]


async def test_an_interval_is_over_by_the_events_time_and_gives_one_answer_to_one_asker(stores: Stores) -> None:
    intervals, minute = IntervalStore(stores.database), timedelta(minutes=1)
    at = await stores.database.now()
    assert await intervals.take("request", at, minute, "first")
    assert await intervals.take("request", at, minute, "first")
    assert not await intervals.take("request", at + minute / 2, minute, "second")
    assert await intervals.take("request", at + minute, minute, "third")


async def test_of_several_who_ask_first_one_gets_the_interval(stores: Stores) -> None:
    intervals, at = IntervalStore(stores.database), await stores.database.now()
    answers = await asyncio.gather(
        *(intervals.take("request", at, timedelta(minutes=1), asker) for asker in "abcabcabc")
    )
    assert len({asker for asker, answer in zip("abcabcabc", answers, strict=True) if answer}) == 1
    assert sum(answers) == 3  # the same asker hears the same


async def test_a_reopened_job_is_told_of_anew(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(notify=told())
        claimed = await stores.claim()
        assert await stores.finish(claimed, failed())
        await stores.jobs.reopen(job.id, "ada")
        claimed = await stores.claim()
        assert await stores.claims.finish(job.id, lease_of(claimed).token, Finish(State.DONE, 1), "worker-1")
        deliveries = await notifier.plan(job)
    assert [(each.occasion, each.series) for each in deliveries] == [
        (Occasion.SUBMITTED, 1), (Occasion.FAILED, 1), (Occasion.SUBMITTED, 2), (Occasion.DONE, 2),
    ]  # fmt: skip


async def test_who_cancelled_it_is_not_told_and_others_are(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        wishes = told(wish(), wish("grace@example.org", subject="grace"))
        job = await stores.submit(owner=ADA, notify=wishes)
        await stores.jobs.cancel(job.id, ADA)
        deliveries = [each for each in await notifier.plan(job) if each.occasion is Occasion.CANCELLED]
    assert {each.recipient: each.status for each in deliveries} == {ADA: SUPPRESSED, "grace@example.org": PLANNED}
