"""A group's notices go by what any of its jobs asked for, and one that nobody tells is counted."""

from datetime import timedelta
from typing import Any

from heliograph.jobs.states import State
from heliograph.notices.census import NoticeCensus
from heliograph.notices.indexes import DELIVERIES
from heliograph_notifier.campaigns.model import Campaign
from tests.integration.test_campaigns import DIGEST, LONG, PLANNED, campaigns, end, look, plan, submit, told_of_groups
from tests.parts.jobs import Stores
from tests.parts.notifier import desk, told, wish
from tests.parts.smtp import MailServer


async def test_no_jobs_wish_takes_away_what_anothers_asked_for(stores: Stores, mail_server: MailServer) -> None:
    """Whether they are planned together or one by one, and in whatever order."""
    keen: dict[str, Any] = {"urgent": True, "asked": [{"channel": "email", "failed": True, "threshold_seconds": 0}]}
    calm: dict[str, Any] = {"asked": [{"channel": "email", "failed": False, "done": False, "threshold_seconds": 600}]}
    async with desk(stores, mail_server, terms=LONG) as notifier:
        for number, batches in enumerate(([[keen], [calm]], [[calm], [keen]], [[keen, calm]], [[calm, keen]])):
            for batch in batches:
                jobs = [
                    job
                    for fields in batch
                    for job in await submit(stores, 1, told(wish(failed=None)) | fields, group=f"survey-{number}")
                ]
                await plan(jobs, notifier)
    found = [Campaign.from_document(document) for document in await campaigns(stores).find({}).to_list(None)]
    assert len(found) == 4
    for campaign in found:
        (member,) = campaign.members
        assert (member.to.wish.failed, member.to.wish.done, member.to.wish.threshold_seconds) == (True, True, 0)
        assert campaign.is_urgent


async def test_what_any_of_a_groups_jobs_asked_for_is_told(stores: Stores, mail_server: MailServer) -> None:
    async with desk(stores, mail_server) as notifier:
        jobs = await submit(stores, 3, told(wish(done=False)))
        await plan(jobs, notifier)
        await end(stores, jobs, State.FAILED)
        await plan(jobs, notifier)
        quiet = {"asked": [{"channel": "email", "failed": False}]}
        last = await submit(stores, 1, told(wish(done=False)) | quiet)
        await end(stores, last)
        await plan(last, notifier)
        await look(notifier)
        (word,) = [each for each in await told_of_groups(notifier) if each.occasion is DIGEST]
    assert (word.status, word.reason.partition(":")[0]) == (PLANNED, "digest-failed")


async def test_a_group_that_nobody_tells_of_counts_once_as_untold(stores: Stores, mail_server: MailServer) -> None:
    past = (await stores.database.now()) - timedelta(minutes=5)
    async with desk(stores, mail_server) as notifier:
        census = NoticeCensus(stores.database)
        jobs = await submit(stores, 12)
        await end(stores, jobs, State.FAILED)
        await plan(jobs, notifier)
        assert (await census.take()).untold == 0
        await campaigns(stores).update_many({}, {"$set": {"look_at": past}})  # and no notifier looks
        assert (await census.take()).untold == 1
        await look(notifier)
        assert (await census.take()).untold == 0
        digest_ = {"occasion": DIGEST.value, "status": "planned"}
        await stores.database.collection(DELIVERIES).update_many(digest_, {"$set": {"first_due_at": past}})
        assert (await census.take()).untold == 1  # it does not go out
