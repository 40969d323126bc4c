"""A second look at a notice that waited: for quiet hours to end, for a server to take it, for a notifier to be there.

Somebody may have asked for silence meanwhile, and the hour may be one at which its reader is not to be told.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from heliograph.errors import NotFoundError
from heliograph.jobs.store import JobStore
from heliograph.notices.model import Delivery, Occasion, SubjectKind
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.preferences import Preferences, PreferenceStore
from heliograph.notices.store import Leased
from heliograph.storage import Database
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.rules import muted
from heliograph_notifier.schedule import next_moment

WAITED = timedelta(seconds=10)  # what goes out sooner was judged by the same mutes and hours when it was planned


@dataclass(frozen=True, slots=True)
class Silenced:
    """It is not sent: somebody does not want to hear of it any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """It is not sent before then."""

    until: datetime


class SecondLook:
    """Looks once more at mutes and quiet hours."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutes = MuteStore(database)
        self._preferences = PreferenceStore(database)
        self._jobs = JobStore(database)
        self._campaigns = CampaignStore(database)

    async def look(self, leased: Leased) -> Silenced | PutOff | None:
        """Return why a delivery is not to go out now; None where it is.

        What an administrator had sent again goes out in any case, and so does an urgent report of an incident.
        """
        delivery = leased.delivery
        is_exempt = delivery.copy > 0 or (delivery.is_urgent and delivery.occasion is Occasion.INCIDENT)
        has_waited = leased.tries > 0 or datetime.now(UTC) - delivery.created_at > WAITED
        if is_exempt or not has_waited:
            return None
        at = await self._database.now()
        if mute := await self._mute(delivery, at):
            return Silenced(muted(mute))
        until = at if delivery.is_urgent else await self._next_moment(delivery, at)
        return PutOff(until) if until > at else None

    async def _mute(self, delivery: Delivery, at: datetime) -> Mute | None:
        people = [delivery.person] if delivery.person else []
        mutes = await self._mutes.touching(people, [(delivery.channel, delivery.recipient)])
        if not mutes:
            return None
        group = await self._group(delivery, mutes)
        holding = (
            mute for mute in mutes
            if mute.holds(
                person=delivery.person, channel=delivery.channel, recipient=delivery.recipient, job=delivery.job,
                group=group, at=at,
            )
        )  # fmt: skip
        return next(holding, None)

    async def _next_moment(self, delivery: Delivery, at: datetime) -> datetime:
        """Return when a delivery's reader may be told, by the preferences of now."""
        if delivery.person is None:
            return at
        preferences = (await self._preferences.several([delivery.person])).get(delivery.person)
        if preferences is None or delivery.occasion in preferences.urgent:
            return at
        return next_moment(at, _zone(preferences, delivery), preferences.quiet_hours, preferences.working_days)

    async def _group(self, delivery: Delivery, mutes: list[Mute]) -> tuple[str, str] | None:
        """Return the group that a delivery is about, or its job belongs to, and whose it is; read where a mute asks."""
        if not any(mute.scope is MuteScope.GROUP for mute in mutes):
            return None
        subject = delivery.subject
        try:
            if subject.kind is SubjectKind.JOB:
                job = await self._jobs.get(subject.id)
                return (job.owner, job.group) if job.group else None
            if subject.kind is SubjectKind.GROUP:
                campaign = await self._campaigns.get(subject.id)
                return campaign.owner, campaign.group
        except NotFoundError:
            pass  # describing it will say so
        return None


def _zone(preferences: Preferences, delivery: Delivery) -> str | None:
    return preferences.time_zone or delivery.time_zone
