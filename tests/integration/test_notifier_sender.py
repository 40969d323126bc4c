"""What is sent, in which order, and what becomes of it when the mail server does not play along."""

import asyncio
from datetime import timedelta

import pytest

from heliograph.backoff import Backoff
from heliograph.jobs.model import Job
from heliograph.notices.model import Delivery, DeliveryStatus, Outcome, Policy
from heliograph.notices.store import Leased
from tests.parts.jobs import Stores, done
from tests.parts.notifier import ADA, Desk, desk, told, until, wish
from tests.parts.smtp import Behaviour, MailServer

PLANNED, SENDING, SENT = DeliveryStatus.PLANNED, DeliveryStatus.SENDING, DeliveryStatus.SENT
FAILED, UNKNOWN = DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN
LONG = timedelta(minutes=5)


def outcomes(delivery: Delivery) -> list[Outcome]:
    return [attempt.outcome for attempt in delivery.attempts]


async def planned(notifier: Desk, *recipients: str) -> Job:
    """A job whose submission is planned to be told."""
    job = await notifier.stores.submit(notify=told(*(wish(each) for each in recipients or (ADA,))))
    await notifier.plan(job)
    return job


async def lease(notifier: Desk) -> Leased:
    leased = await notifier.ledger.lease("email")
    assert leased, "nothing to lease"
    return leased[0]


async def no_breaks(stores: Stores, length: timedelta) -> None:
    """Return once the connection has been unbroken for so long."""

    async def is_long() -> bool:
        return stores.database.connected_for > length

    await until(is_long)


async def test_a_planned_notice_is_sent_at_once_and_keeps_the_receipt(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        await mail_server.wait_for_mails(1)
        (delivery,) = await notifier.wait_for(job, SENT)
    assert delivery.receipt == "250 2.0.0 queued as 1"
    assert outcomes(delivery) == [Outcome.SENT]
    assert delivery.sent_at == delivery.attempts[0].at


async def test_each_recipient_gets_a_mail_of_their_own(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        await planned(notifier, "ada@example.org", "grace@example.org")
        mails = await mail_server.wait_for_mails(2)
    assert sorted(mail_server.recipients) == ["ada@example.org", "grace@example.org"]
    assert sorted(mail["To"] for mail in mails) == ["ada@example.org", "grace@example.org"]


async def test_a_server_that_puts_off_gets_it_later(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviour = Behaviour.PUT_OFF
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        await mail_server.wait_for_attempts(2)
        mail_server.behaviour = Behaviour.OK
        (delivery,) = await notifier.wait_for(job, SENT)
    assert outcomes(delivery)[:2] == [Outcome.TRY_LATER, Outcome.TRY_LATER]
    assert delivery.attempts[0].reply == "451 4.7.1 greylisted, come back later"
    assert len(mail_server.mails) == 1


@pytest.mark.parametrize(
    ("behaviour", "reply"),
    [
        (Behaviour.REFUSE, "550 5.1.1 no such mailbox"),
        (Behaviour.REFUSE_CONTENT, "554 5.6.0 not this content"),
    ],
)
async def test_a_refusal_is_final_and_visible(
    stores: Stores, mail_server: MailServer, behaviour: Behaviour, reply: str
) -> None:
    mail_server.behaviours["nobody@example.org"] = behaviour
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier, "nobody@example.org", ADA)
        deliveries = await notifier.wait_for(job, FAILED, SENT)
    assert [attempt.reply for attempt in deliveries[0].attempts] == [reply]
    assert mail_server.recipients == [ADA]


async def test_a_server_that_is_down_and_comes_up_gets_it(stores: Stores, mail_server: MailServer) -> None:
    await mail_server.stop()
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)

        async def was_tried() -> bool:
            (delivery,) = await notifier.ledger.of_job(job.id)
            return len(delivery.attempts) >= 2

        await until(was_tried)
        await mail_server.start()
        (delivery,) = await notifier.wait_for(job, SENT)
    assert set(outcomes(delivery)[:-1]) == {Outcome.TRY_LATER}


async def test_while_a_channel_rests_its_other_notices_are_left_in_peace(
    stores: Stores, mail_server: MailServer
) -> None:
    mail_server.behaviour = Behaviour.BUSY
    async with desk(stores, mail_server, workers=1, channel_backoff=Backoff(LONG, LONG)) as notifier:
        async with notifier.sending():
            jobs = [await planned(notifier) for _ in range(5)]
            await mail_server.wait_for_attempts(1)
            await asyncio.sleep(0.5)  # nothing tells that nothing comes
        assert mail_server.attempts == 1
        tried = [delivery for job in jobs for delivery in await notifier.ledger.of_job(job.id) if delivery.attempts]
        assert [outcomes(delivery) for delivery in tried] == [[Outcome.TRY_LATER]]
        assert tried[0].attempts[0].reply == "421 4.3.2 too busy"


async def test_a_notice_that_was_tried_for_too_long_is_given_up(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviour = Behaviour.PUT_OFF
    async with desk(stores, mail_server, most_age=timedelta(seconds=0.3)) as notifier, notifier.sending():
        job = await planned(notifier)
        (delivery,) = await notifier.wait_for(job, FAILED)
    assert outcomes(delivery)[-1] is Outcome.GIVEN_UP


async def test_no_answer_after_the_data_is_unknown_and_repeated_as_the_same_message(
    stores: Stores, mail_server: MailServer
) -> None:
    mail_server.behaviour = Behaviour.DROP_AFTER_DATA
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        await mail_server.wait_for_mails(1)
        mail_server.behaviour = Behaviour.OK
        (delivery,) = await notifier.wait_for(job, SENT)
    assert outcomes(delivery)[0] is Outcome.UNKNOWN
    assert len({mail["Message-ID"] for mail in mail_server.mails}) == 1 < len(mail_server.mails)


async def test_no_answer_before_the_deadline_is_unknown(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviour, mail_server.slow_seconds = Behaviour.SLOW, 60.0
    backoff = Backoff(LONG, LONG)
    async with desk(stores, mail_server, deadline=timedelta(seconds=1.5), backoff=backoff) as notifier:
        async with notifier.sending():
            job = await planned(notifier)

            async def was_tried() -> bool:
                return bool((await notifier.ledger.of_job(job.id))[0].attempts)

            await until(was_tried)
        (delivery,) = await notifier.ledger.of_job(job.id)
    assert (outcomes(delivery), delivery.attempts[0].reply) == ([Outcome.UNKNOWN], "no answer in time")


@pytest.mark.parametrize(("policy", "status"), [(Policy.AT_LEAST_ONCE, PLANNED), (Policy.AT_MOST_ONCE, UNKNOWN)])
async def test_a_notice_whose_sender_is_gone_goes_by_its_policy(
    stores: Stores, mail_server: MailServer, policy: Policy, status: DeliveryStatus
) -> None:
    length = timedelta(seconds=0.5)
    async with desk(stores, mail_server, lease=length) as notifier:
        job = await planned(notifier)
        leased = await lease(notifier)
        assert (await notifier.ledger.of_job(job.id))[0].status is SENDING
        await asyncio.sleep(length.total_seconds())
        await no_breaks(stores, length)
        assert await notifier.ledger.expire(lambda _: None) == 0  # not ours to decide
        assert await notifier.ledger.expire(lambda _: policy) == 1
        (delivery,) = await notifier.ledger.of_job(job.id)
        assert (delivery.status, outcomes(delivery)) == (status, [Outcome.UNKNOWN])
        assert not await notifier.ledger.sent(leased, "250 too late")
        assert (await notifier.ledger.get(delivery.id)).status is status


async def test_a_lease_is_not_called_expired_by_who_was_away_itself(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server, lease=timedelta(seconds=0.2)) as notifier:
        job = await planned(notifier)
        await lease(notifier)
        await asyncio.sleep(0.3)
        stores.database._connected_since = None
        assert await notifier.ledger.expire(lambda _: Policy.AT_LEAST_ONCE) == 0
        assert await notifier.has(job, SENDING)


async def test_a_later_notice_of_a_job_waits_for_the_earlier(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviour = Behaviour.PUT_OFF
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        await mail_server.wait_for_attempts(1)
        claimed = await stores.claim()
        assert await stores.finish(claimed, done())
        await notifier.plan(job)
        await mail_server.wait_for_attempts(4)
        assert mail_server.mails == []
        mail_server.behaviour = Behaviour.OK
        await notifier.wait_for(job, SENT, SENT)
    words = [mail["Subject"].split()[1] for mail in mail_server.mails]
    assert words == ["submitted:", "done:"]


async def test_a_lane_that_waits_holds_up_no_other(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        for _ in range(12):  # more than one lease looks at
            await notifier.plan(await notifier.finished_job())
            leased = await lease(notifier)
            assert await notifier.ledger.postpone(leased, LONG, "451 later")
        assert await notifier.ledger.lease("email") == []  # every "done" waits for its "submitted"
        fresh = await planned(notifier)
        assert (await lease(notifier)).delivery.job == fresh.id


async def test_one_lane_is_leased_to_one_at_a_time(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        await notifier.plan(await notifier.finished_job())
        leases = await asyncio.gather(*(notifier.ledger.lease("email", 4) for _ in range(6)))
        (first,) = [leased for several in leases for leased in several]
        assert first.delivery.seq == 1
        assert await notifier.ledger.lease("email") == []
        assert await notifier.ledger.refused(first, "550 no")
        assert (await lease(notifier)).delivery.seq == 3


async def test_two_notifiers_share_the_work_without_a_second_copy(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as one, desk(stores, mail_server) as other, one.sending(), other.sending():
        jobs = [await planned(one) for _ in range(30)]
        for job in jobs:
            await one.wait_for(job, SENT)
    assert len({mail["Message-ID"] for mail in mail_server.mails}) == len(mail_server.mails) == 30
    assert mail_server.connections <= 4


async def test_a_job_that_is_no_longer_kept_is_said_so(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned(notifier)
        await stores.collection.delete_one({"_id": job.id})
        async with notifier.sending():
            (delivery,) = await notifier.wait_for(job, FAILED)
    assert delivery.attempts[0].reply == "what it is about is no longer kept"


@pytest.mark.parametrize(
    "recipient",
    ["nobody", "ada@example.org\r\nBcc: all@example.org", "Ada <ada@example.org>", "a@b, c@d", "a b@c.org"],
)
async def test_what_is_no_address_is_refused_before_it_is_sent(
    stores: Stores, mail_server: MailServer, recipient: str
) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier, recipient)
        (delivery,) = await notifier.wait_for(job, FAILED)
    assert outcomes(delivery) == [Outcome.REFUSED]
    assert mail_server.attempts == 0


async def test_an_address_beyond_ascii_is_reached_where_the_server_can(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        await planned(notifier, "åsa@exämple.org")
        await mail_server.wait_for_mails(1)
    assert mail_server.recipients == ["åsa@exämple.org"]


async def test_a_reply_of_any_bytes_is_kept(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned(notifier)
        assert await notifier.ledger.sent(await lease(notifier), "250 $ok \udcff" + "x" * 9000)
        (delivery,) = await notifier.ledger.of_job(job.id)
    assert delivery.receipt is not None
    assert delivery.receipt.startswith("250 $ok ?xxx")
    assert len(delivery.receipt) == 500


async def test_pages_of_notices_are_newest_first_and_by_status(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = [await planned(notifier) for _ in range(5)]
        assert await notifier.ledger.refused(await lease(notifier), "550 no")
        seen, cursor = [], None
        while True:
            page = await notifier.ledger.page(status=PLANNED, limit=3, cursor=cursor)
            seen += [delivery.job for delivery in page.deliveries]
            if (cursor := page.next) is None:
                break
        assert seen == [job.id for job in reversed(jobs[1:])]


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_nothing_is_sent_in_the_clear_where_encryption_is_asked_for(
    stores: Stores, mail_server: MailServer, scheme: str
) -> None:
    async with desk(stores, mail_server, url=mail_server.url.replace("smtp", scheme, 1)) as notifier:
        async with notifier.sending():
            job = await planned(notifier)

            async def was_tried() -> bool:
                return bool((await notifier.ledger.of_job(job.id))[0].attempts)

            await until(was_tried)
        (delivery,) = await notifier.ledger.of_job(job.id)
    assert set(outcomes(delivery)) == {Outcome.TRY_LATER}
    assert mail_server.attempts == 0
