"""What a channel's line leases ahead, and that it reads together what it sends."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override

from heliograph.channels import Channel, Notice
from heliograph.errors import NotFoundError
from heliograph.jobs.model import Job
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import Delivery, DeliveryStatus, Outcome
from heliograph_notifier.describing.describer import FRESH_SECONDS, Describer, Read
from heliograph_notifier.line import MOST_AHEAD
from heliograph_notifier.links import Links
from tests.parts.jobs import Stores
from tests.parts.notifier import PUBLIC_URL, Desk, desk, told, until, wish
from tests.parts.smtp import MailServer

WORKERS = 2


class Gate(Channel):
    """A channel that lets some through, and holds what comes after until it is opened."""

    name = "gate"

    def __init__(self, through: int) -> None:
        self.held = 0
        self.opened = asyncio.Event()
        self._through = through

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        if self._through:
            self._through -= 1
            return "let through"
        self.held += 1
        await self.opened.wait()
        return "let through later"


async def planned(notifier: Desk, count: int) -> list[Job]:
    jobs = []
    for _ in range(count):
        jobs.append(await notifier.stores.submit(notify=told(wish("somebody", channel="gate"))))
        await notifier.plan(jobs[-1])
    return jobs


async def statuses(notifier: Desk) -> dict[DeliveryStatus, int]:
    page = await notifier.ledger.page(channel="gate", limit=200)
    found = [delivery.status for delivery in page.deliveries]
    return {status: found.count(status) for status in set(found)}


async def until_held(gate: Gate) -> None:
    """Return once every worker stands at the gate."""

    async def condition() -> bool:
        return gate.held >= WORKERS

    await until(condition)


def is_sending(notifier: Desk, count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return (await statuses(notifier)).get(DeliveryStatus.SENDING, 0) >= count

    return condition


async def test_of_a_slow_channel_few_are_leased_ahead_and_those_are_given_back(
    stores: Stores, mail_server: MailServer
) -> None:
    gate = Gate(through=0)
    async with desk(stores, mail_server, workers=WORKERS, channels=[gate]) as notifier:
        await planned(notifier, 10)
        async with notifier.sending():
            await until(is_sending(notifier, 2 * WORKERS))
            await until_held(gate)
            for _ in range(5):  # nothing tells that nothing more is leased
                notifier.sender.wake()
                await asyncio.sleep(0.05)
            assert gate.held == WORKERS
            assert (await statuses(notifier))[DeliveryStatus.SENDING] <= WORKERS + 2 * WORKERS  # all were idle at first
            notifier.sender.stop()
            gate.opened.set()
        assert await statuses(notifier) == {DeliveryStatus.SENT: WORKERS, DeliveryStatus.PLANNED: 10 - WORKERS}
        untouched = (await notifier.ledger.page(status=DeliveryStatus.PLANNED)).deliveries
        assert {delivery.attempts for delivery in untouched} == {()}


async def test_of_a_fast_channel_more_is_leased_ahead_and_yet_only_so_much(
    stores: Stores, mail_server: MailServer
) -> None:
    gate = Gate(through=40)
    most = WORKERS * MOST_AHEAD
    async with desk(stores, mail_server, workers=WORKERS, channels=[gate]) as notifier:
        await planned(notifier, 70)
        async with notifier.sending():
            await until(is_sending(notifier, 2 * WORKERS + 1))
            for _ in range(5):  # nothing tells that nothing more is leased
                notifier.sender.wake()
                await asyncio.sleep(0.05)
            assert 2 * WORKERS < (await statuses(notifier))[DeliveryStatus.SENDING] <= WORKERS + most
            gate.opened.set()

            async def is_over() -> bool:
                return await statuses(notifier) == {DeliveryStatus.SENT: 70}

            await until(is_over)


async def test_a_sender_that_is_lost_leaves_exactly_what_it_had_in_hand_unknown(
    stores: Stores, mail_server: MailServer
) -> None:
    """Whatever was leased with others: what is recorded stays so, what was not begun is told, and each just once."""
    gate = Gate(through=5)
    async with desk(stores, mail_server, workers=WORKERS, channels=[gate]) as lost:
        await planned(lost, 12)
        running = asyncio.create_task(lost.sender.run())

        async def is_in_the_midst() -> bool:
            found = await statuses(lost)
            return found.get(DeliveryStatus.SENT) == 5 and gate.held == WORKERS and DeliveryStatus.SENDING in found

        await until(is_in_the_midst)
        running.cancel()
        await asyncio.wait({running})
        is_over_by_now = {"$set": {"lease.until": "$created_at", "lease.ms": 0}}  # as if its leases had run out
        await stores.database.collection(DELIVERIES).update_many({"status": "sending"}, [is_over_by_now])
        before = {each.id: each for each in (await lost.ledger.page(channel="gate", limit=20)).deliveries}
    async with desk(stores, mail_server, workers=WORKERS, channels=[Gate(through=12)]) as heir, heir.sending():

        async def is_over() -> bool:
            return await statuses(heir) == {DeliveryStatus.SENT: 12}

        await until(is_over)
        after = (await heir.ledger.page(channel="gate", limit=20)).deliveries
    in_hand = {identifier for identifier, each in before.items() if each.status is DeliveryStatus.SENDING}
    assert len(in_hand) >= WORKERS
    for each in after:
        unknown = [Outcome.UNKNOWN] if each.id in in_hand else []
        assert [attempt.outcome for attempt in each.attempts] == [*unknown, Outcome.SENT]


async def test_a_job_that_cannot_be_read_holds_up_none_that_is_read_with_it(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server, workers=WORKERS, channels=[Gate(through=9)]) as notifier:
        jobs = await planned(notifier, 5)
        await stores.collection.update_one({"_id": jobs[2].id}, {"$unset": {"state": ""}})
        async with notifier.sending():
            for job in (*jobs[:2], *jobs[3:]):
                await notifier.wait_for(job, DeliveryStatus.SENT)
            (broken,) = await notifier.ledger.of_job(jobs[2].id)
    assert broken.status is not DeliveryStatus.SENT
    assert {attempt.reply for attempt in broken.attempts} <= {"KeyError in the notifier"}


async def test_what_was_read_just_now_is_not_read_again_and_what_was_read_long_ago_is(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        describer = Describer(stores.database, Links(PUBLIC_URL, None))
        (job,) = await planned(notifier, 1)
        deliveries = await notifier.ledger.of_job(job.id)
        read = await describer.read(deliveries)
        await stores.collection.delete_one({"_id": job.id})
        assert (await describer.describe(deliveries[0], read)).subject == deliveries[0].subject
        with pytest.raises(NotFoundError):
            await describer.describe(deliveries[0], Read(read.jobs, time.monotonic() - FRESH_SECONDS))
