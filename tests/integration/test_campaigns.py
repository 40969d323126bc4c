"""The jobs of a group are told together: at most three messages, by any number of notifiers, whenever one dies."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from heliograph.ids import new_id
from heliograph.jobs.model import NewJob
from heliograph.jobs.states import State
from heliograph.jobs.store import SetStore
from heliograph.jobs.store.changes import ChangePlan, to
from heliograph.jobs.store.documents import new_document
from heliograph.notices.due import DueStore
from heliograph.notices.indexes import CAMPAIGNS
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, SubjectKind
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph_notifier.campaigns.model import Campaign, CampaignState
from heliograph_notifier.campaigns.rules import Terms, digest
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.describing.describer import Describer
from heliograph_notifier.links import Links
from heliograph_notifier.rules import muted
from tests.parts.jobs import Stores, new_job
from tests.parts.mails import part
from tests.parts.notifier import ADA, PUBLIC_URL, Desk, desk, told, wish
from tests.parts.smtp import MailServer

SURVEY = "survey-7"
GRACE = "grace@example.org"
LONG = Terms(settle_seconds=600.0)
PLANNED, SUPPRESSED = DeliveryStatus.PLANNED, DeliveryStatus.SUPPRESSED
SUBMITTED, FAILING, DIGEST = Occasion.SUBMITTED, Occasion.FAILING, Occasion.DIGEST


async def submit(stores: Stores, count: int, notify: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    """Store jobs of one group."""
    common = {"group": SURVEY, "notify": notify or told(), **fields}
    jobs: list[NewJob] = [new_job(name=f"star {number}", **common) for number in range(count)]
    now = await stores.database.now()
    await stores.collection.insert_many([new_document(job, now) for job in jobs])
    return [job.id for job in jobs]


async def end(stores: Stores, jobs: Sequence[str], state: State = State.DONE) -> None:
    """Have jobs end, as their worker would."""
    fields = {"error": {"$literal": {"kind": "fatal", "message": "no period found"}}} if state is State.FAILED else {}
    change = ChangePlan("worker", to(state), fields)
    where = change.condition({"_id": {"$in": list(jobs)}, "state": {"$in": ["queued", "running"]}})
    await stores.collection.update_many(where, change.pipeline())


async def plan(jobs: Sequence[str], *desks: Desk) -> None:
    """Have what the jobs have to tell planned, by all of these notifiers at once."""
    due = DueStore(desks[0].stores.database)
    events = [event for each in await due.read(jobs) for event in each.events]
    await asyncio.gather(*(one.planner.handle(event) for event in events for one in desks))


async def look(*desks: Desk) -> None:
    """Have every open campaign looked at now, by all of these notifiers at once."""
    await campaigns(desks[0].stores).update_many({"look_at": {"$exists": True}}, [{"$set": {"look_at": "$$NOW"}}])
    await asyncio.gather(*(one.teller.sweep() for one in desks))


async def pass_time(stores: Stores, length: timedelta) -> None:
    """Make everything that has happened older."""
    milliseconds = length / timedelta(milliseconds=1)
    for collection, names in ((campaigns(stores), ("opened_at", "news_at")), (stores.collection, ("ended_at",))):
        for name in names:
            earlier = {"$set": {name: {"$subtract": [f"${name}", milliseconds]}}}
            await collection.update_many({name: {"$type": "date"}}, [earlier])


def campaigns(stores: Stores) -> Any:
    return stores.database.collection(CAMPAIGNS)


async def only_campaign(stores: Stores) -> Campaign:
    (document,) = await campaigns(stores).find({}).to_list(None)
    return Campaign.from_document(document)


async def told_of_groups(notifier: Desk, recipient: str = ADA) -> list[Delivery]:
    """What a recipient is told of groups, or would be, in the order in which it was planned."""
    found = (await notifier.ledger.page(limit=5000)).deliveries
    about = [each for each in found if each.subject.kind is SubjectKind.GROUP and each.recipient == recipient]
    return sorted(about, key=lambda each: each.id)


async def occasions(notifier: Desk, recipient: str = ADA) -> list[Occasion]:
    return [each.occasion for each in await told_of_groups(notifier, recipient) if each.status is not SUPPRESSED]


async def test_a_thousand_jobs_are_three_mails_even_with_two_notifiers(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as one, desk(stores, mail_server) as other, one.sending(), other.sending():
        jobs = await submit(stores, 1000)
        await plan(jobs, one, other)
        await look(one, other)
        await end(stores, jobs[:13], State.FAILED)
        await plan(jobs[:13], one, other)
        await look(one, other)
        await mail_server.wait_for_mails(2)
        await end(stores, jobs[13:])
        await plan(jobs[13:], one, other)
        await look(one, other)
        await look(one, other)
        mails = await mail_server.wait_for_mails(3)
        assert await occasions(one) == [SUBMITTED, FAILING, DIGEST]
        assert (await only_campaign(stores)).state is CampaignState.CLOSED
    assert len(mail_server.mails) == 3
    begun, failing, over = (str(mail["Subject"]) for mail in mails)
    assert begun.startswith("[Heliograph] submitted: survey-7, requested ")
    assert failing.startswith("[Heliograph] failing: survey-7, 13 of 13 failed so far, requested ")
    assert over.startswith("[Heliograph] digest: survey-7, 987 done, 13 failed, requested ")
    text = part(mails[2], "plain")
    assert "star 12" in text
    assert text.count("no period found") == 13
    assert "Mute this group" in text
    own = (await one.ledger.page(limit=5000)).deliveries
    assert {each.reason.partition(":")[0] for each in own if each.job} == {"told-with-group"}


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_the_digest_of_one_job_says_what_its_own_notice_would(
    stores: Stores, mail_server: MailServer, state: State
) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        (job,) = await submit(stores, 1, parameters={"star": "Mira"})
        await plan([job], notifier)
        await look(notifier)
        await mail_server.wait_for_mails(1)
        await end(stores, [job], state)
        await plan([job], notifier)
        await look(notifier)
        begun, over = await mail_server.wait_for_mails(2)
    assert await occasions(notifier) == [SUBMITTED, DIGEST]
    assert str(over["Subject"]).startswith(f"[Heliograph] {state}: star 0, requested ")
    assert over["References"] == begun["References"]  # the campaign's thread
    text = part(over, "plain")
    assert f"{PUBLIC_URL}/jobs/{job}" in text
    assert "star: Mira" in text
    assert ("no period found" in text) is (state is State.FAILED)


async def test_a_single_job_that_has_begun_anew_is_told_as_a_group(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        (job,) = await submit(stores, 1)
        await end(stores, [job])
        await plan([job], notifier)
        await look(notifier)
        await stores.collection.update_one({"_id": job}, {"$set": {"state": "queued"}})
        over = (await told_of_groups(notifier))[-1]
        notice = await Describer(stores.database, Links(PUBLIC_URL, None)).describe(over)
    assert (over.occasion, notice.headline, notice.thread[:6]) == (DIGEST, "Your group is done", "group.")


async def test_what_is_shown_of_many_failures_is_the_first_twenty(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier, notifier.sending():
        jobs = await submit(stores, 60)
        await end(stores, jobs, State.FAILED)
        await plan(jobs, notifier)
        await look(notifier)
        mails = await mail_server.wait_for_mails(2)
    text = part(mails[1], "plain")
    assert text.count("no period found") == 20
    assert "and 40 more" in text
    assert await occasions(notifier) == [SUBMITTED, DIGEST]  # at the end an early word is none


@pytest.mark.parametrize("is_planned", [False, True])
async def test_a_notifier_that_dies_between_deciding_and_telling_is_finished_by_another(
    stores: Stores, mail_server: MailServer, *, is_planned: bool
) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 3)
        await end(stores, jobs)
        await plan(jobs, notifier)
        campaign = await only_campaign(stores)
        outcome = await SetStore(stores.database).since("ada", SURVEY, campaign.opened_at)
        decided = await CampaignStore(stores.database).close(campaign, outcome)
        assert decided
        if is_planned:
            await notifier.ledger.insert(digest(decided, [], await stores.database.now()))
        await look(notifier)
        assert await occasions(notifier) == [DIGEST]
        assert (await only_campaign(stores)).state is CampaignState.CLOSED


async def test_what_comes_while_it_is_decided_keeps_a_campaign_open(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 2)
        await end(stores, jobs)
        await plan(jobs, notifier)
        seen = await only_campaign(stores)
        await plan(await submit(stores, 1), notifier)
        outcome = await SetStore(stores.database).since("ada", SURVEY, seen.opened_at)
        assert await CampaignStore(stores.database).close(seen, outcome) is None
        await look(notifier)
        assert await occasions(notifier) == [SUBMITTED]


async def test_an_ended_job_whose_news_are_not_planned_keeps_it_open(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 2)
        await plan(jobs, notifier)
        await end(stores, jobs)
        await look(notifier)
        assert await occasions(notifier) == [SUBMITTED]
        await plan(jobs, notifier)
        await look(notifier)
        assert await occasions(notifier) == [SUBMITTED, DIGEST]


async def test_jobs_that_end_one_by_one_are_told_once_all_have_been_over_for_long(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server, terms=LONG) as notifier:
        jobs = await submit(stores, 4)
        for job in jobs:
            await end(stores, [job])
            await plan([job], notifier)
            await look(notifier)
            await pass_time(stores, timedelta(seconds=590))
        assert await occasions(notifier) == [SUBMITTED]
        await pass_time(stores, timedelta(seconds=20))
        await look(notifier)
        assert await occasions(notifier) == [SUBMITTED, DIGEST]
        assert ((await only_campaign(stores)).tally or {}) != {}


async def test_a_campaign_without_news_is_looked_at_when_it_may_be_settled(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server, terms=LONG) as notifier:
        jobs = await submit(stores, 1)
        await plan(jobs, notifier)
        assert await CampaignStore(stores.database).due() != []  # news are looked at at once
        await notifier.teller.sweep()
        assert await CampaignStore(stores.database).due() == []  # it costs nothing while nothing happens
        await end(stores, jobs)
        await plan(jobs, notifier)
        await look(notifier)
        (document,) = await campaigns(stores).find({}).to_list(None)
        assert abs(document["look_at"] - document["news_at"] - timedelta(seconds=600)) < timedelta(seconds=60)


async def test_a_group_that_goes_on_later_is_told_again_of_its_new_jobs_alone(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        for count in (3, 2):
            jobs = await submit(stores, count)
            await plan(jobs, notifier)
            await look(notifier)
            await end(stores, jobs)
            await plan(jobs, notifier)
            await look(notifier)
        assert await occasions(notifier) == [SUBMITTED, DIGEST] * 2
        found = await campaigns(stores).find({}).sort("_id", 1).to_list(None)
        assert [document["tally"] for document in found] == [{"done": 3}, {"done": 2}]


async def test_news_that_were_told_open_no_campaign_when_they_are_told_again(
    stores: Stores, mail_server: MailServer
) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 2)
        await end(stores, jobs)
        notes = {job: (await stores.stored(job))["notices_due"] for job in jobs}
        await plan(jobs, notifier)
        await look(notifier)
        for job, noted in notes.items():  # as after a crash before the notes were taken out
            await stores.collection.update_one({"_id": job}, {"$set": {"notices_due": noted}})
        await plan(jobs, notifier)
        await look(notifier)
        assert (await only_campaign(stores)).state is CampaignState.CLOSED
        assert await occasions(notifier) == [SUBMITTED, DIGEST]


async def test_the_early_word_comes_once(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 100)
        await plan(jobs, notifier)
        said = []
        for first in range(0, 90, 10):
            await end(stores, jobs[first : first + 3], State.FAILED)
            await end(stores, jobs[first + 3 : first + 10])
            await plan(jobs[first : first + 10], notifier)
            await look(notifier)
            said.append((await occasions(notifier)).count(FAILING))
        assert said == [1] * 9  # 3 of the first 10
        await plan(await submit(stores, 1, told(wish(GRACE))), notifier)
        await look(notifier)
        assert await occasions(notifier, GRACE) == [SUBMITTED]  # who comes later learns it at the end
    (word,) = [each for each in await told_of_groups(notifier) if each.occasion is FAILING]
    assert word.reason == "failing-wished: 3 of 10 failed so far, and notices of failure are on"


async def test_without_a_digest_each_job_is_told(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 3, told(wish(digest=False), wish(GRACE)))
        await end(stores, jobs)
        await plan(jobs, notifier)
        await look(notifier)
        assert await occasions(notifier) == []
        assert await occasions(notifier, GRACE) == [SUBMITTED, DIGEST]
        own = [each for job in jobs for each in await notifier.ledger.of_job(job) if each.recipient == ADA]
        assert [each.status for each in own] == [PLANNED] * 6


async def test_who_mutes_the_group_hears_no_more_of_it(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 20, told(wish(), wish(GRACE)))
        await plan(jobs, notifier)
        await look(notifier)
        mute = Mute(
            new_id(), MuteScope.GROUP, "an unsubscribe link", await stores.database.now(), of=SURVEY, owner="ada",
            channel="email", recipient=ADA,
        )  # fmt: skip
        await MuteStore(stores.database).add(mute)
        await end(stores, jobs[:10], State.FAILED)
        await look(notifier)
        await end(stores, jobs[10:])
        await plan(jobs, notifier)
        await look(notifier)
        assert await occasions(notifier) == [SUBMITTED]
        assert await occasions(notifier, GRACE) == [SUBMITTED, FAILING, DIGEST]
        kept_back = [each for each in await told_of_groups(notifier) if each.status is SUPPRESSED]
        assert [(each.occasion, each.reason) for each in kept_back] == [(FAILING, muted(mute)), (DIGEST, muted(mute))]


async def test_the_jobs_of_two_owners_in_one_group_are_two_campaigns(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        for owner, address, count in (("ada", ADA, 2), ("grace", GRACE, 5)):
            jobs = await submit(stores, count, told(wish(address)), owner=owner)
            await end(stores, jobs)
            await plan(jobs, notifier)
        await look(notifier)
        found = await campaigns(stores).find({}).sort("owner", 1).to_list(None)
        assert [(each["owner"], each["tally"]) for each in found] == [("ada", {"done": 2}), ("grace", {"done": 5})]
        assert await occasions(notifier) == await occasions(notifier, GRACE) == [SUBMITTED, DIGEST]


async def test_the_beginning_is_told_once_within_the_interval(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        for _ in range(2):
            jobs = await submit(stores, 2, told(wish(interval_seconds=3600, done=False)))
            await end(stores, jobs)
            await plan(jobs, notifier)
            await look(notifier)
        first, _, second, _ = await told_of_groups(notifier)
        assert (first.occasion, first.status) == (SUBMITTED, PLANNED)
        assert (second.occasion, second.status) == (SUBMITTED, SUPPRESSED)
        assert second.reason.startswith("submitted-within-interval: ")


async def test_jobs_that_are_gone_are_no_news(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 2, told(wish(submitted=False)))
        await plan(jobs, notifier)
        await stores.collection.delete_many({})
        await look(notifier)
        assert [each.reason.partition(":")[0] for each in await told_of_groups(notifier)] == [
            "submitted-not-wished",
            "digest-empty",
        ]


async def test_a_confidential_or_urgent_job_makes_its_campaign_so(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        await plan(await submit(stores, 1), notifier)
        assert not (await only_campaign(stores)).is_confidential
        await plan(await submit(stores, 1, told() | {"confidential": True, "urgent": True}), notifier)
        await plan(await submit(stores, 1), notifier)
        campaign = await only_campaign(stores)
        assert (campaign.is_confidential, campaign.is_urgent, campaign.version) == (True, True, 3)


async def test_a_look_at_a_large_group_reads_indexes_alone(stores: Stores, mail_server: MailServer) -> None:
    """Measured: 12 ms for a group of 10,000 jobs."""
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 500)
        await plan(jobs, notifier)
        await look(notifier)
        await end(stores, jobs)
        await plan(jobs, notifier)
        await stores.database.raw.command("profile", 2)
        await look(notifier)
        await stores.database.raw.command("profile", 0)
        assert await occasions(notifier) == [SUBMITTED, DIGEST]
    spaces = [f"{stores.database.raw.name}.{collection}" for collection in ("jobs", CAMPAIGNS)]
    about = {"ns": {"$in": spaces}, "op": {"$ne": "update"}}
    seen = await stores.database.raw["system.profile"].find(about).to_list(None)
    assert {one["ns"] for one in seen} == set(spaces)
    for one in seen:
        assert one["planSummary"].startswith(("IXSCAN", "IDHACK")), one
        assert one.get("docsExamined", 0) <= 2, one
