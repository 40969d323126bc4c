"""The teller: watches over open campaigns, and plans what is told of them.

Every notifier has one. Each step is stored under a unique key or under the campaign's version, so that two who look
at the same campaign at once, or one that dies half-way, tell nothing twice and leave nothing out.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from heliograph.jobs.sets import Outcome
from heliograph.jobs.store import SetStore
from heliograph.notices.due import DueStore
from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import Delivery
from heliograph.notices.mutes import Mute, MuteStore
from heliograph.notices.store import Ledger
from heliograph.storage import Database, StoreUnavailableError
from heliograph_notifier.campaigns.model import Campaign, CampaignState
from heliograph_notifier.campaigns.rules import Terms, digest, is_failing, word_of_begin, word_of_failing
from heliograph_notifier.campaigns.store import BUSY, CampaignStore
from heliograph_notifier.intervals import keep_interval
from heliograph_notifier.metrics import count_planned

_log = structlog.get_logger()

SWEEP_SECONDS = 1.0
QUIET = timedelta(seconds=15)  # without news a campaign is looked at so often: jobs of which nobody is told end too


class Teller:
    """Tells of campaigns for one process; ``on_planned`` is called when something new waits to be sent."""

    def __init__(
        self, database: Database, campaigns: CampaignStore, ledger: Ledger, terms: Terms,
        on_planned: Callable[[], None],
    ) -> None:  # fmt: skip
        self._database = database
        self._campaigns = campaigns
        self._sets = SetStore(database)
        self._due = DueStore(database)
        self._mutes = MuteStore(database)
        self._intervals = IntervalStore(database)
        self._ledger = ledger
        self._terms = terms
        self._settle = timedelta(seconds=terms.settle_seconds)
        self._on_planned = on_planned

    async def run(self) -> None:
        """Look at what is due, until cancelled; an outage of the database pauses it."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except StoreUnavailableError:
                _log.debug("teller waits for the database")

    async def sweep(self) -> None:
        """Look once at every campaign that is due."""
        for campaign in await self._campaigns.due():
            try:
                await self._look(campaign)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: BLE001 - what is wrong with one group keeps no other from being told
                _log.exception("a group could not be told of", campaign=campaign.id, group=campaign.group)
                await self._campaigns.look_again(campaign, QUIET)

    async def finish(self, campaign: Campaign) -> None:
        """Tell what became of a campaign that is closing; harmless to repeat."""
        clock = await self._database.now()
        await self._plan(digest(campaign, await self._touching(campaign), clock))
        await self._campaigns.closed(campaign)

    async def _look(self, campaign: Campaign) -> None:
        if campaign.state is CampaignState.CLOSING:
            await self.finish(campaign)
            return
        clock = await self._database.now()
        outcome = await self._sets.since(campaign.owner, campaign.group, campaign.opened_at)
        await self._tell_begin(campaign, clock)
        await self._tell_failing(campaign, outcome, clock)
        if not outcome.tally.is_over:
            await self._campaigns.look_again(campaign, QUIET)
        elif (left := campaign.quiet_since(outcome) + self._settle - clock) > timedelta(0):
            await self._campaigns.look_again(campaign, left)
        elif await self._due.waits_in_group(campaign.owner, campaign.group):
            await self._campaigns.look_again(campaign, BUSY)  # a planner is about to bring news
        elif decided := await self._campaigns.close(campaign, outcome):
            await self.finish(decided)

    async def _tell_begin(self, campaign: Campaign, clock: datetime) -> None:
        if not any(each.saw_begin and each.key not in campaign.begun for each in campaign.members):
            return
        deliveries = word_of_begin(campaign, await self._touching(campaign), clock)
        identity = f"{campaign.owner}|{campaign.group}"
        await self._plan([
            await keep_interval(self._intervals, each, identity, campaign.opened_at) for each in deliveries
        ])  # fmt: skip
        await self._campaigns.begun(campaign, [each for each in campaign.members if each.saw_begin])

    async def _tell_failing(self, campaign: Campaign, outcome: Outcome, clock: datetime) -> None:
        if not campaign.is_failing_settled and is_failing(outcome.tally, self._terms):
            await self._plan(word_of_failing(campaign, outcome.tally, await self._touching(campaign), clock))
            await self._campaigns.failing_settled(campaign)

    async def _plan(self, deliveries: Sequence[Delivery]) -> None:
        if new := await self._ledger.insert(deliveries):
            count_planned(new)
            self._on_planned()

    async def _touching(self, campaign: Campaign) -> list[Mute]:
        told = [member.to for member in campaign.members]
        return await self._mutes.touching(
            (each.person for each in told if each.person), ((each.channel, each.recipient) for each in told)
        )
