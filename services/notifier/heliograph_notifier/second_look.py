"""A second look at a notice that waited: for quiet hours to end, for a server to take it, for a notifier to be there.

Somebody may have asked for silence meanwhile, and the hour may be one at which its reader is not to be told.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from heliograph_notifier.describing.describer import FRESH_SECONDS
from heliograph_notifier.rules import muted
from heliograph_notifier.schedule import next_moment

WAITED = timedelta(seconds=10)  # what goes out sooner was judged by the same mutes and hours when it was planned

_Group = tuple[str, str]  # its owner and its name


@dataclass(frozen=True, slots=True)
class Silenced:
    """It is not sent: somebody does not want to hear of it any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """It is not sent before then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """What decides about several deliveries, as it was read at one time.

    ``at`` is that time by the database's clock, ``clock`` by the monotonic one. ``mutes`` are by delivery, ``groups``
    by subject, for those that a mute of a group may hold for.
    """

    deliveries: frozenset[str]
    at: datetime
    clock: float
    mutes: Mapping[str, Sequence[Mute]]
    groups: Mapping[str, _Group]
    preferences: Mapping[str, Preferences]

    def tells_of(self, delivery: Delivery) -> bool:
        """Say whether a delivery is one of them, and was looked at just now."""
        return delivery.id in self.deliveries and time.monotonic() - self.clock < FRESH_SECONDS

    def judge(self, delivery: Delivery) -> Silenced | PutOff | None:
        """Return why one of them is not to go out now; None where it is."""
        group = self.groups.get(str(delivery.subject))
        for mute in self.mutes.get(delivery.id, ()):
            if mute.holds(
                person=delivery.person, channel=delivery.channel, recipient=delivery.recipient, job=delivery.job,
                group=group, at=self.at,
            ):  # fmt: skip
                return Silenced(muted(mute))
        until = self.at if delivery.is_urgent else self._next_moment(delivery)
        return PutOff(until) if until > self.at else None

    def _next_moment(self, delivery: Delivery) -> datetime:
        """Return when a delivery's reader may be told, by the preferences of now."""
        preferences = self.preferences.get(delivery.person) if delivery.person is not None else None
        if preferences is None or delivery.occasion in preferences.urgent:
            return self.at
        zone = preferences.time_zone or delivery.time_zone
        return next_moment(self.at, zone, preferences.quiet_hours, preferences.working_days)


class SecondLook:
    """Looks once more at mutes and quiet hours."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutes = MuteStore(database)
        self._preferences = PreferenceStore(database)
        self._jobs = JobStore(database)
        self._campaigns = CampaignStore(database)

    async def see(self, several: Iterable[Leased]) -> Seen | None:
        """Read at once what decides about those of several that are due for a second look; None where none is."""
        deliveries = [leased.delivery for leased in several if _is_due(leased)]
        if not deliveries:
            return None
        clock = time.monotonic()
        people = {delivery.person for delivery in deliveries if delivery.person is not None}
        at, mutes, preferences = await asyncio.gather(
            self._database.now(),
            self._mutes.touching(people, ((delivery.channel, delivery.recipient) for delivery in deliveries)),
            self._preferences.several(people),
        )
        of_each = _by_delivery(deliveries, mutes)
        groups = await self._groups(
            delivery for delivery in deliveries if any(each.scope is MuteScope.GROUP for each in of_each[delivery.id])
        )
        return Seen(frozenset(of_each), at, clock, of_each, groups, preferences)

    async def look(self, leased: Leased, seen: Seen | None = None) -> Silenced | PutOff | None:
        """Return why a delivery is not to go out now; None where it is.

        What was ``seen`` of it just now is not read again. What an administrator had sent again goes out in any case,
        and so does an urgent report of an incident.
        """
        if not _is_due(leased):
            return None
        if seen is None or not seen.tells_of(leased.delivery):
            seen = await self.see([leased])
        return seen.judge(leased.delivery) if seen else None

    async def _groups(self, deliveries: Iterable[Delivery]) -> dict[str, _Group]:
        """Return the groups that deliveries are about, or their jobs belong to, by subject."""
        subjects = {delivery.subject for delivery in deliveries}
        jobs = [subject for subject in subjects if subject.kind is SubjectKind.JOB]
        found = await self._jobs.several_with_history(subject.id for subject in jobs) if jobs else {}
        groups: dict[str, _Group] = {}
        for subject in subjects:
            if subject.kind is SubjectKind.GROUP and (group := await self._campaign(subject.id)):
                groups[str(subject)] = group
            elif (job := found.get(subject.id)) and job.group:
                groups[str(subject)] = job.owner, job.group
        return groups

    async def _campaign(self, identifier: str) -> _Group | None:
        try:
            campaign = await self._campaigns.get(identifier)
        except NotFoundError:
            return None  # describing it will say so
        return campaign.owner, campaign.group


def _is_due(leased: Leased) -> bool:
    """Say whether a delivery is to be looked at again before it goes out."""
    delivery = leased.delivery
    is_exempt = delivery.copy > 0 or (delivery.is_urgent and delivery.occasion is Occasion.INCIDENT)
    return not is_exempt and (leased.tries > 0 or datetime.now(UTC) - delivery.created_at > WAITED)


def _by_delivery(deliveries: Iterable[Delivery], mutes: Iterable[Mute]) -> dict[str, Sequence[Mute]]:
    """Return for each delivery, by id, the mutes of its person and those of its recipient: few of those of a batch."""
    of_person: dict[str, list[Mute]] = defaultdict(list)
    of_place: dict[tuple[str | None, str], list[Mute]] = defaultdict(list)
    for mute in mutes:
        if mute.person is not None:
            of_person[mute.person].append(mute)
        elif mute.recipient is not None:
            of_place[mute.channel, mute.recipient].append(mute)
    return {
        each.id: [*of_person.get(each.person or "", ()), *of_place.get((each.channel, each.recipient), ())]
        for each in deliveries
    }
