"""The ledger: what is sent again on request, what is muted meanwhile, what is confidential, and how it is listed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typing_extensions import override

from heliograph.channels import Channel, Notice, TryLater
from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.notices.census import NoticeCensus
from heliograph.notices.due import DueStore
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Outcome, Policy, Subject, SubjectKind
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.store import Leased
from heliograph_notifier.census import Census
from heliograph_notifier.disclosure import Disclosure
from heliograph_notifier.metrics import NOTICES_OPEN, UNTOLD
from heliograph_notifier.second_look import SecondLook
from tests.parts.jobs import Stores
from tests.parts.notifier import ADA, Desk, desk, told, until, wish
from tests.parts.smtp import Behaviour, MailServer

PLANNED, SENDING, SENT = DeliveryStatus.PLANNED, DeliveryStatus.SENDING, DeliveryStatus.SENT
FAILED, SUPPRESSED = DeliveryStatus.FAILED, DeliveryStatus.SUPPRESSED
MINUTE = timedelta(minutes=1)


class Whisper(Channel):
    """A channel that is encrypted to some recipients, and keeps what it is given."""

    name = "whisper"

    def __init__(self, private: Sequence[str] = (), *, unsure: int = 0) -> None:
        self.said: list[Notice] = []
        self._private = private
        self._unsure = unsure

    @override
    async def is_private(self, recipient: str) -> bool:
        if self._unsure:
            self._unsure -= 1
            raise TryLater("the room is not known yet")
        return recipient in self._private

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        self.said.append(notice)
        return "heard"


async def planned(notifier: Desk, *recipients: str, **fields: object) -> Job:
    job = await notifier.stores.submit(notify=told(*(wish(each) for each in recipients or (ADA,))) | fields)
    await notifier.plan(job)
    return job


async def insert(notifier: Desk, job: Job, *, waited: timedelta = timedelta(0), **fields: object) -> Delivery:
    """A delivery that is due now, and was planned so long ago."""
    now = await notifier.stores.database.now()
    whole = {
        "id": new_id(), "subject": Subject.of_job(job.id), "occasion": Occasion.SUBMITTED, "series": 1, "seq": 1,
        "channel": "email", "recipient": ADA, "status": PLANNED, "reason": "submitted-wished: on", "person": job.owner,
        "created_at": now - waited, "due_at": now, **fields,
    }  # fmt: skip
    delivery = Delivery(**whole)  # type: ignore[arg-type] # each test states what it is about
    assert await notifier.ledger.insert([delivery])
    return delivery


async def lease(notifier: Desk) -> Leased:
    (leased,) = await notifier.ledger.lease("email")
    return leased


def mute(**fields: object) -> Mute:
    whole = {"id": new_id(), "scope": MuteScope.ALL, "made_by": "an unsubscribe link", "created_at": datetime.now(UTC)}
    return Mute(**(whole | fields))  # type: ignore[arg-type] # each test states what it is about


async def test_it_is_kept_how_somebody_comes_to_be_told_and_their_mail_says_so(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier, ADA, "grace@example.org")
        deliveries = await notifier.wait_for(job, SENT, SENT)
        assert {each.recipient: each.origin for each in deliveries} == {ADA: "owner", "grace@example.org": "submission"}
        copy = await notifier.ledger.resend(deliveries[0].id, "the admin")
        assert copy.origin == deliveries[0].origin
    texts = {str(mail["To"]): mail.as_string().replace("=\n", "") for mail in mail_server.mails}
    assert "Your request has been submitted" in texts[ADA]
    assert f"A request of {job.owner} has been submitted" in texts["grace@example.org"]
    assert "The submission named you." in texts["grace@example.org"]


async def test_what_is_settled_is_sent_again_as_a_copy(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        (first,) = await notifier.wait_for(job, SENT)
        copy = await notifier.ledger.resend(first.id, "the admin")
        assert (copy.copy, copy.status, copy.reason) == (1, PLANNED, "resent: asked for by the admin")
        notifier.sender.wake()
        await notifier.wait_for(job, SENT, SENT)
        assert (await notifier.ledger.resend(first.id, "the admin")).copy == 2
        await notifier.wait_for(job, SENT, SENT, SENT)
    assert len(mail_server.mails) == 3
    assert len({mail["Message-ID"] for mail in mail_server.mails}) == 3


@pytest.mark.parametrize("fields", [{"recipient": ""}, {"channel": "contacts", "recipient": "study/5901"}])
async def test_what_names_nobody_is_not_sent_again(
    stores: Stores, mail_server: MailServer, fields: dict[str, Any]
) -> None:
    async with desk(stores, mail_server) as notifier:
        none = await insert(notifier, await stores.submit(), status=DeliveryStatus.SUPPRESSED, **fields)
        with pytest.raises(ConflictError, match="names nobody who could be told"):
            await notifier.ledger.resend(none.id, "the admin")


async def test_what_is_still_to_be_sent_is_not_sent_again(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned(notifier)
        (first,) = await notifier.ledger.of_job(job.id)
        with pytest.raises(ConflictError, match=f"still to be sent, at {first.due_at:%Y-%m-%d %H:%M:%S} UTC"):
            await notifier.ledger.resend(first.id, "the admin")
        assert await notifier.ledger.refused(await lease(notifier), "550 no")
        tries = [notifier.ledger.resend(first.id, "the admin") for _ in range(5)]
        asked = await asyncio.gather(*tries, return_exceptions=True)
        assert len([each for each in asked if isinstance(each, Delivery)]) == 1
        assert len([each for each in asked if isinstance(each, ConflictError)]) == 4
        with pytest.raises(NotFoundError):
            await notifier.ledger.resend(new_id(), "the admin")


@pytest.mark.parametrize("who", ["person", "recipient", "job", "group"])
async def test_who_unsubscribed_while_a_notice_waited_gets_nothing(
    stores: Stores, mail_server: MailServer, who: str
) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(owner="ada", group="night 7")
        muted = {
            "person": mute(person="ada"),
            "recipient": mute(channel="email", recipient=ADA),
            "job": mute(scope=MuteScope.JOB, of=job.id, person="ada"),
            "group": mute(scope=MuteScope.GROUP, of="night 7", owner="ada", channel="email", recipient=ADA),
        }[who]
        await insert(notifier, job, waited=MINUTE)
        await MuteStore(stores.database).add(muted)
        async with notifier.sending():
            (delivery,) = await notifier.wait_for(job, SUPPRESSED)
    assert delivery.reason.startswith("muted: ")
    assert delivery.reason.endswith(", by an unsubscribe link")
    assert (delivery.attempts, mail_server.attempts) == ((), 0)


async def test_a_mute_is_looked_at_again_before_each_further_try(stores: Stores, mail_server: MailServer) -> None:
    mail_server.behaviour = Behaviour.PUT_OFF
    async with desk(stores, mail_server) as notifier, notifier.sending():
        job = await planned(notifier)
        await mail_server.wait_for_attempts(1)
        await MuteStore(stores.database).add(mute(channel="email", recipient=ADA))
        await notifier.wait_for(job, SUPPRESSED)
    assert mail_server.mails == []


@pytest.mark.parametrize(
    ("fields", "other"),
    [
        ({"is_urgent": True, "occasion": Occasion.INCIDENT}, mute(channel="email", recipient=ADA)),
        ({"copy": 1}, mute(channel="email", recipient=ADA)),
        ({}, mute(channel="email", recipient="grace@example.org")),
        ({}, mute(channel="email", recipient=ADA, until=datetime.now(UTC) - MINUTE)),
        ({}, mute(scope=MuteScope.GROUP, of="night 8", owner="ada", channel="email", recipient=ADA)),
    ],
    ids=["urgent", "resent", "somebody else's", "over", "another group's"],
)
async def test_what_no_mute_holds_back_goes_out(
    stores: Stores, mail_server: MailServer, fields: dict[str, object], other: Mute
) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await stores.submit(owner="ada", group="night 7")
        delivery = await insert(notifier, job, waited=MINUTE, **fields)
        await MuteStore(stores.database).add(other)
        assert await SecondLook(stores.database).look(Leased(delivery, "a token", 0, 0.0)) is None


async def test_what_is_confidential_goes_in_full_to_who_alone_can_read_it(
    stores: Stores, mail_server: MailServer
) -> None:
    whisper = Whisper(private=["!sealed"], unsure=1)
    full = {"email": Disclosure.FULL, "whisper": Disclosure.NOTHING}
    async with desk(stores, mail_server, channels=[whisper], disclosures=full) as notifier:
        wishes = [wish(), wish("!sealed", channel="whisper"), wish("!open", channel="whisper")]
        job = await stores.submit(parameters={"target": "NGC 1068"}, notify=told(*wishes) | {"confidential": True})
        await notifier.plan(job)
        async with notifier.sending():

            async def is_settled() -> bool:
                return all(each.status in {SENT, FAILED} for each in await notifier.ledger.of_job(job.id))

            await until(is_settled)
        ended = {each.recipient: each for each in await notifier.ledger.of_job(job.id)}
    assert {who: each.status for who, each in ended.items()} == {ADA: SENT, "!sealed": SENT, "!open": FAILED}
    assert "by the rule of confidentiality" in (ended["!open"].attempts[-1].reply or "")
    assert "NGC 1068" not in mail_server.mails[0].as_string()
    assert ["NGC 1068" in repr(notice) for notice in whisper.said] == [True]


async def test_a_page_is_of_what_fits(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = [await stores.submit() for _ in range(3)]
        for job in jobs:
            await insert(notifier, job)
            await insert(notifier, job, recipient="grace@example.org", status=SUPPRESSED)
            await insert(notifier, job, channel="whisper", recipient="!open")
        page = notifier.ledger.page
        assert len((await page()).deliveries) == 9
        assert {each.channel for each in (await page(channel="whisper")).deliveries} == {"whisper"}
        assert [each.job for each in (await page(recipient=ADA)).deliveries] == [job.id for job in reversed(jobs)]
        assert len((await page(subjects=[Subject.of_job(jobs[0].id)])).deliveries) == 3
        assert len((await page(subjects=[Subject.of_job(jobs[0].id)], status=SUPPRESSED)).deliveries) == 1
        first = await page(recipient=ADA, limit=2)
        second = await page(recipient=ADA, limit=2, cursor=first.next)
        assert ([each.job for each in second.deliveries], second.next) == ([jobs[0].id], None)
        with pytest.raises(InvalidInputError):
            await page(cursor="elsewhere")


@pytest.mark.parametrize(
    ("occasion", "policy"), [(Occasion.DONE, Policy.AT_LEAST_ONCE), (Occasion.TEST, Policy.AT_MOST_ONCE)]
)
async def test_a_mail_of_unknown_fate_goes_by_its_template(
    stores: Stores, mail_server: MailServer, occasion: Occasion, policy: Policy
) -> None:
    async with desk(stores, mail_server) as notifier:
        kind = SubjectKind.TEST if occasion is Occasion.TEST else SubjectKind.JOB
        delivery = await insert(notifier, await stores.submit(), occasion=occasion, subject=Subject(kind, new_id()))
        assert notifier.sender.channels["email"].after_unknown(delivery, None) is policy


async def test_what_is_given_back_was_never_tried(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        job = await planned(notifier)
        leased = await lease(notifier)
        assert await notifier.ledger.release(leased)
        (delivery,) = await notifier.ledger.of_job(job.id)
        assert (delivery.status, delivery.attempts) == (PLANNED, ())
        again = await lease(notifier)
        assert (again.tries, again.token != leased.token) == (0, True)
        assert await notifier.has(job, SENDING)


async def test_an_outcome_that_is_written_twice_counts_once(stores: Stores, mail_server: MailServer) -> None:
    """What a lost answer leads to: the second write finds the first."""
    async with desk(stores, mail_server) as notifier:
        job = await planned(notifier)
        leased = await lease(notifier)
        assert await notifier.ledger.sent(leased, "250 taken")
        assert await notifier.ledger.sent(leased, "250 taken")
        (delivery,) = await notifier.ledger.of_job(job.id)
    assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.SENT]


async def test_several_are_leased_at_once_and_no_two_of_a_lane(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        for _ in range(4):
            await notifier.plan(await notifier.finished_job())
        leased = await notifier.ledger.lease("email", 10)
        assert [each.delivery.seq for each in leased] == [1, 1, 1, 1]
        assert len({each.delivery.lane for each in leased}) == 4
        assert await notifier.ledger.lease("email", 10) == []
        assert await notifier.ledger.lease("whisper", 10) == []


async def test_ended_jobs_of_which_nobody_was_told_are_counted(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        census = NoticeCensus(stores.database)
        told_of = await notifier.finished_job()
        await notifier.plan(told_of)  # young: neither is late yet
        unplanned = await notifier.finished_job()
        assert (await census.take()).untold == 0
        past = datetime.now(UTC) - timedelta(minutes=5)
        await stores.collection.update_one({"_id": unplanned.id}, {"$set": {"ended_at": past}})
        assert (await census.take()).untold == 1
        await DueStore(stores.database).postpone([unplanned.id])  # it waits for a contact directory
        assert (await census.take()).untold == 1
        deliveries = stores.database.collection(DELIVERIES)
        await deliveries.update_many({"subject": f"job:{told_of.id}"}, {"$set": {"first_due_at": past}})
        reading = await census.take()
        assert reading.untold == 2
        assert reading.waiting["email"].notices == 2
        assert reading.waiting["email"].due_since == past.replace(microsecond=past.microsecond // 1000 * 1000)
        await Census(stores.database).take()
        assert UNTOLD._value.get() == 2
        assert NOTICES_OPEN.labels("email")._value.get() == 2
        async with notifier.sending():
            await notifier.wait_for(told_of, SENT, SENT)
        assert (await census.take()).untold == 1
        due = await DueStore(stores.database).read([unplanned.id])
        await notifier.plan(unplanned)
        assert (await census.take()).untold == 0
        of_it = {"subject": f"job:{unplanned.id}"}
        await deliveries.update_many(of_it, {"$set": {"first_due_at": past}})
        noted = [{"seq": seq, "at": past} for seq in due[0].seqs]  # what was planned is not taken out: a crash
        await stores.collection.update_one({"_id": unplanned.id}, {"$set": {"notices_due": noted}})
        assert (await census.take()).untold == 1  # the same job


async def test_a_copy_is_kept_as_long_as_the_notice_whichever_service_makes_it(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        await planned(notifier)
        week = timedelta(days=7)
        leased = await lease(notifier)
        assert await notifier.ledger.sent(leased, "250 taken")
        deliveries = stores.database.collection(DELIVERIES)
        await deliveries.update_one(
            {"_id": leased.delivery.id}, [{"$set": {"expires_at": {"$add": ["$first_due_at", 7 * 86_400_000]}}}]
        )
        copy = await notifier.ledger.resend(leased.delivery.id, "root")
        kept = await deliveries.find_one({"_id": copy.id})
    assert kept
    assert kept["expires_at"] - kept["due_at"] == week
