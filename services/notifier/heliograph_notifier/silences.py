"""Whether somebody asked for silence while a notice waited: for quiet hours to end, or for a server to take it."""

from datetime import timedelta

from heliograph.errors import NotFoundError
from heliograph.jobs.store import JobStore
from heliograph.notices.model import Delivery, Occasion, SubjectKind
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph.notices.store import Leased
from heliograph.storage import Database
from heliograph_notifier.campaigns.store import CampaignStore
from heliograph_notifier.rules import muted

WAITED = timedelta(seconds=10)  # what goes out sooner was judged by the same mutes when it was planned


class Silences:
    """Looks once more at the mutes that touch a notice which waited."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutes = MuteStore(database)
        self._jobs = JobStore(database)
        self._campaigns = CampaignStore(database)

    async def reason(self, leased: Leased) -> str | None:
        """Return why a delivery is to be suppressed now; None where it goes out.

        What an administrator had sent again goes out in any case, and so does an urgent report of an incident.
        """
        delivery = leased.delivery
        has_waited = leased.tries > 0 or delivery.due_at - delivery.created_at > WAITED
        is_exempt = delivery.copy > 0 or (delivery.is_urgent and delivery.occasion is Occasion.INCIDENT)
        if not has_waited or is_exempt:
            return None
        people = [delivery.person] if delivery.person else []
        mutes = await self._mutes.touching(people, [(delivery.channel, delivery.recipient)])
        if not mutes:
            return None
        group, at = await self._group(delivery, mutes), await self._database.now()
        holding = (
            mute for mute in mutes
            if mute.holds(
                person=delivery.person, channel=delivery.channel, recipient=delivery.recipient, job=delivery.job,
                group=group, at=at,
            )
        )  # fmt: skip
        mute = next(holding, None)
        return muted(mute) if mute else None

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
