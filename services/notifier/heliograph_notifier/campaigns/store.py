"""Campaigns in MongoDB: each write is one conditional update, so that any number of notifiers may work on them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from heliograph.errors import NotFoundError
from heliograph.ids import new_id
from heliograph.jobs.sets import Outcome
from heliograph.notices.indexes import CAMPAIGNS
from heliograph.notices.store import RETENTION
from heliograph.storage import Database, Document, DuplicateError, Index
from heliograph.storage.errors import translated
from heliograph_notifier.campaigns.model import Campaign, CampaignState, Member, News

LOOKED_AT_ONCE = 50
BUSY = timedelta(seconds=1)  # while its jobs end, a campaign is looked at so often
LEFT = timedelta(seconds=5)  # so long after it was decided, a campaign that is still closing was left by its notifier
_OPEN = {"state": CampaignState.OPEN.value}
_NOW = "$$NOW"
_INDEXES = (
    # The rule that the work of an owner in a group has one open campaign.
    Index("open", (("owner", 1), ("group", 1)), {"unique": True, "partialFilterExpression": _OPEN}),
    Index("told", (("owner", 1), ("group", 1), ("through", -1)), {}),
    Index("look", (("look_at", 1),), {"partialFilterExpression": {"look_at": {"$exists": True}}}),
    Index("over", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)


class CampaignStore:
    """Keeps campaigns; one that is closed is removed after ``retention``."""

    def __init__(self, database: Database, retention: timedelta = RETENTION) -> None:
        self._campaigns = database.collection(CAMPAIGNS)
        self._retention_milliseconds = _milliseconds(retention)

    async def note(self, news: Sequence[News]) -> None:
        """Take in what changes of jobs bring, in one write for each group.

        What an earlier campaign of the group has told already, told again after a crash or by a second planner, opens
        none: it lies before the end of the last one.
        """
        of_group: dict[tuple[str, str], list[News]] = defaultdict(list)
        for each in news:
            of_group[each.owner, each.group].append(each)
        for (owner, group), several in of_group.items():
            through = await self._told_through(owner, group)
            if fresh := [each for each in several if through is None or each.at > through]:
                await self._merge(owner, group, fresh)

    async def due(self) -> list[Campaign]:
        """Return campaigns that are to be looked at now, the longest waiting first."""
        where = {"look_at": {"$type": "date"}, "$expr": {"$lte": ["$look_at", _NOW]}}
        with translated():
            found = await self._campaigns.find(where).sort("look_at", 1).to_list(LOOKED_AT_ONCE)
        return [Campaign.from_document(document) for document in found]

    async def get(self, identifier: str) -> Campaign:
        """Return one; ``NotFoundError`` where there is none."""
        with translated():
            found = await self._campaigns.find_one({"_id": identifier})
        if found is None:
            raise NotFoundError(f"there is no campaign {identifier}")
        return Campaign.from_document(found)

    async def begun(self, campaign: Campaign, members: Iterable[Member]) -> None:
        """Note that these members' word of the beginning is settled."""
        keys = [each.key for each in members]
        with translated():
            await self._campaigns.update_one({"_id": campaign.id}, {"$addToSet": {"begun": {"$each": keys}}})

    async def failing_settled(self, campaign: Campaign) -> None:
        """Note that the early word is settled."""
        with translated():
            await self._campaigns.update_one({"_id": campaign.id}, {"$set": {"failing_settled": True}})

    async def look_again(self, campaign: Campaign, wait: timedelta) -> None:
        """Have a campaign looked at again after ``wait``; news that came meanwhile have it looked at sooner."""
        where = {"_id": campaign.id, "version": campaign.version, "look_at": {"$type": "date"}}
        with translated():
            await self._campaigns.update_one(where, [{"$set": {"look_at": {"$add": [_NOW, _milliseconds(wait)]}}}])

    async def close(self, campaign: Campaign, outcome: Outcome) -> Campaign | None:
        """Decide what became of a campaign, unless there are news; return it as it is then."""
        where = {"_id": campaign.id, "version": campaign.version, **_OPEN}
        fields = {
            "state": CampaignState.CLOSING.value, "closed_at": _NOW, "look_at": {"$add": [_NOW, _milliseconds(LEFT)]},
            "through": outcome.ended_at or campaign.opened_at,
            "tally": {"$literal": {state.value: count for state, count in outcome.tally.by_state.items()}},
        }  # fmt: skip
        with translated():
            found = await self._campaigns.find_one_and_update(where, [{"$set": fields}], return_document=True)
        return Campaign.from_document(found) if found else None

    async def closed(self, campaign: Campaign) -> None:
        """Note that everybody's digest is settled."""
        where = {"_id": campaign.id, "state": CampaignState.CLOSING.value}
        fields = {
            "state": CampaignState.CLOSED.value, "expires_at": {"$add": [_NOW, self._retention_milliseconds]}
        }  # fmt: skip
        with translated():
            await self._campaigns.update_one(where, [{"$set": fields}, {"$unset": "look_at"}])

    async def _told_through(self, owner: str, group: str) -> datetime | None:
        """Return up to when earlier campaigns have told of a group."""
        where = {"owner": owner, "group": group, "through": {"$type": "date"}}
        with translated():
            found = await self._campaigns.find_one(where, {"through": 1}, sort=[("through", -1)])
        return found["through"] if found else None

    async def _merge(self, owner: str, group: str, news: Sequence[News]) -> None:
        members: dict[str, Document] = {}
        for each in sorted(news, key=lambda one: one.at):
            for member in each.members:
                known = members.get(member.key)
                document = member.to_document()
                members[member.key] = known | document | _together(known, document) if known else document
        merged = {f"members.{key}": _merged(f"$members.{key}", document) for key, document in members.items()}
        first = min(each.at for each in news)
        fields: dict[str, Any] = {
            "_id": {"$ifNull": ["$_id", new_id()]},
            "opened_at": {"$min": ["$opened_at", first]},
            "news_at": _NOW,
            "version": {"$add": [{"$ifNull": ["$version", 0]}, 1]},
            "look_at": {"$min": [{"$ifNull": ["$look_at", _NOW]}, {"$add": [_NOW, _milliseconds(BUSY)]}]},
            **({"urgent": True} if any(each.is_urgent for each in news) else {}),
            **({"confidential": True} if any(each.is_confidential for each in news) else {}),
            **merged,
        }
        where = {"owner": owner, "group": group, **_OPEN}
        for last_try in (False, True):  # two first askers insert at once; the one that lost updates
            try:
                with translated():
                    await self._campaigns.update_one(where, [{"$set": fields}], upsert=True)
            except DuplicateError:
                if last_try:
                    raise
            else:
                return


async def ensure_campaign_indexes(database: Database) -> None:
    """Create the indexes over campaigns where they are missing."""
    await database.ensure_indexes(CAMPAIGNS, _INDEXES)


def _together(one: Document, other: Document) -> Document:
    """Return what a member wishes of a group where its jobs differ: what either wishes, and from when the first does.

    So no job's wish takes away what another's asked for.
    """
    wish = {
        name: value or other["wish"][name] if isinstance(value, bool) else min(value, other["wish"][name])
        for name, value in one["wish"].items()
    }
    return {"wish": wish, "urgent": sorted({*one["urgent"], *other["urgent"]})}


def _merged(field: str, document: Document) -> dict[str, Any]:
    """Return a member as last known, with the wishes of before and now ``_together``; who saw the beginning did so."""
    wish = {
        name: {"$or" if isinstance(value, bool) else "$min": [f"{field}.wish.{name}", value]}
        for name, value in document["wish"].items()
    }
    urgent = {"$setUnion": [{"$ifNull": [f"{field}.urgent", []]}, document["urgent"]]}
    return {"$mergeObjects": [field, {"$literal": document}, {"wish": wish, "urgent": urgent}]}


def _milliseconds(length: timedelta) -> int:
    return int(length / timedelta(milliseconds=1))
