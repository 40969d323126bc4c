"""What is planned is planned once, however often and by however many it is announced."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store.claims import Finish
from heliograph.notices.due import DueStore
from heliograph.notices.indexes import INTERVALS
from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import DeliveryStatus, Occasion, Wish
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.preferences import PreferenceStore, QuietHours
from heliograph.notices.watches import Watch, WatchKind, WatchStore
from tests.parts.jobs import QUEUE, Stores, done, failed, lease_of
from tests.parts.notifier import ADA, desk, told, until, wish
from tests.parts.smtp import MailServer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)  # the least that the database tells apart
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


async def test_of_one_request_two_planners_tell_once_in_an_interval_on_each_channel(
    stores: Stores, mail_server: MailServer
) -> None:
    wishes = {"claimed": [wish(interval_seconds=3600), wish("!lab", channel="matrix", interval_seconds=3600)]}
    both = {"elsewhere": ("matrix",)}
    async with desk(stores, mail_server, **both) as one, desk(stores, mail_server, **both) as other:
        jobs = [await stores.submit(notify=wishes, identity="the same") for _ in range(20)]
        events = [(await one.events(job))[0] for job in jobs]
        await asyncio.gather(*(each.planner.handle(event) for event in events for each in (one, other)))
        deliveries = [delivery for job in jobs for delivery in await one.ledger.of_job(job.id)]
    told_ = sorted(each.channel for each in deliveries if each.status is PLANNED)
    assert (len(deliveries), told_) == (40, ["email", "matrix"])
    kept = [each.reason.partition(":")[0] for each in deliveries if each.status is SUPPRESSED]
    assert kept == ["submitted-within-interval"] * 38


async def test_two_planners_tell_of_the_end_once_a_series(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as one, desk(stores, mail_server) as other:
        job = await one.finished_job()
        await stores.jobs.reopen(job.id, "ada")
        assert await stores.finish(await stores.claim(), done())
        events = await one.events(job)
        await asyncio.gather(*(each.planner.handle(event) for event in events for each in (one, other)))
        await asyncio.gather(one.planner.sweep(), other.planner.sweep())
        ends = [each for each in await one.ledger.of_job(job.id) if each.occasion is Occasion.DONE]
    assert [(each.series, each.status) for each in ends] == [(1, PLANNED), (2, PLANNED)]


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
        job = await notifier.finished_job(notify={"told": True})
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
    assert not await intervals.take("request", at + minute, minute, "third")  # it has to be longer ago
    assert await intervals.take("request", at + minute + MOMENT, minute, "fourth")
    assert await intervals.take("request", at, minute, "first")  # its planner died before it wrote that down


async def test_an_interval_holds_to_both_sides_of_what_was_told(stores: Stores) -> None:
    """Events are planned late and in any order: those that lie further away are not within."""
    intervals, minute = IntervalStore(stores.database), timedelta(minutes=1)
    at = await stores.database.now()
    assert await intervals.take("request", at, minute, "noon")
    assert await intervals.take("request", at - timedelta(hours=1), minute, "an hour before")
    assert not await intervals.take("request", at - minute, minute, "a minute before")
    assert not await intervals.take("request", at + MOMENT, minute, "after noon")  # not the last one that was granted
    kept = await stores.database.collection(INTERVALS).find_one({"_id": "request"})
    assert kept
    assert kept["over_at"] == at + minute  # not that of the earlier one, which came later


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
        wishes = told(wish(), wish("grace@example.org"))
        job = await stores.submit(owner=ADA, notify=wishes)
        await stores.jobs.cancel(job.id, ADA)
        deliveries = [each for each in await notifier.plan(job) if each.occasion is Occasion.CANCELLED]
    assert {each.recipient: each.status for each in deliveries} == {ADA: SUPPRESSED, "grace@example.org": PLANNED}


async def test_what_people_stated_before_decides_when_it_is_planned(stores: Stores, mail_server: MailServer) -> None:
    """Preferences, watches and mutes are read then, not when the job is submitted."""
    await PreferenceStore(stores.database).change(
        "ada", lambda known: replace(known, wishes={"email": Wish("email", "lab@example.org", submitted=False)})
    )
    watched = Watch("01W", "grace", WatchKind.QUEUE, QUEUE, None, NOW, (Wish("email", "grace@example.org"),))
    await WatchStore(stores.database).add(watched)
    async with desk(stores, mail_server) as notifier:
        job = await notifier.finished_job()
        mute = Mute("01M", MuteScope.ALL, "the api", NOW, person="grace")
        await MuteStore(stores.database).add(mute)
        deliveries = await notifier.plan(job)
    assert [(each.recipient, each.occasion, each.reason.partition(":")[0]) for each in deliveries] == [
        ("lab@example.org", Occasion.SUBMITTED, "submitted-not-wished"),
        ("grace@example.org", Occasion.SUBMITTED, "muted"),
        ("lab@example.org", Occasion.DONE, "done-wished"),
        ("grace@example.org", Occasion.DONE, "muted"),
    ]


async def test_in_quiet_hours_what_is_not_urgent_is_planned_for_later(stores: Stores, mail_server: MailServer) -> None:
    now = (await stores.database.now()).time()
    quiet = QuietHours(now.replace(second=0, microsecond=0), time((now.hour + 2) % 24))
    await PreferenceStore(stores.database).change(
        "ada", lambda known: replace(known, quiet_hours=quiet, urgent=frozenset({Occasion.DONE}))
    )
    async with desk(stores, mail_server) as notifier:
        submitted, finished = await notifier.plan(await notifier.finished_job())
        (urgent,) = await notifier.plan(await stores.submit(notify=told() | {"urgent": True}))
    assert submitted.due_at - submitted.created_at > timedelta(minutes=59)
    assert submitted.reason.endswith("; waits for the end of quiet time")
    for each in (finished, urgent):
        assert (each.is_urgent, each.due_at) == (True, each.created_at)


async def test_what_is_urgent_does_not_wait_behind_what_waits_for_the_morning(
    stores: Stores, mail_server: MailServer
) -> None:
    now = (await stores.database.now()).time()
    quiet = QuietHours(now.replace(second=0, microsecond=0), time((now.hour + 2) % 24))
    await PreferenceStore(stores.database).change(
        "ada", lambda known: replace(known, quiet_hours=quiet, urgent=frozenset({Occasion.DONE}))
    )
    async with desk(stores, mail_server) as notifier:
        await notifier.plan(await notifier.finished_job())
        leased = await notifier.ledger.lease("email", 8)
    assert [each.delivery.occasion for each in leased] == [Occasion.DONE]


async def test_that_it_begins_is_planned_after_a_long_wait(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(notify=told(wish(running_after_seconds=600)))
        earlier = await stores.database.now() - timedelta(days=366)
        long_ago = {"created_at": earlier, "history.0.at": earlier}
        await stores.collection.update_one({"_id": job.id}, {"$set": long_ago})
        await stores.claim()
        _, running = await notifier.plan(job)
    assert (running.occasion, running.status) == (Occasion.RUNNING, PLANNED)
    assert running.reason.startswith("running-after-wait: waited 3")
