"""Bulletins become deliveries: a report goes to the operators, a test to whoever asked for it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from heliograph.notices.bulletins import Bulletin, BulletinStore
from heliograph.notices.model import Delivery, Occasion, SubjectKind, Wish
from heliograph.notices.mutes import Mute, MuteStore
from heliograph.notices.store import Ledger
from heliograph.storage import Database, StoreUnavailableError
from heliograph_notifier.metrics import count_planned
from heliograph_notifier.recipients import Defaults, Recipient
from heliograph_notifier.rules import Verdict, deliver, muted, silence, without_channel

_log = structlog.get_logger()


_NAMED = dict.fromkeys(("email", "matrix"), "the token and the preferences name none")
_NAMED_ELSEWHERE = "submissions and the contact directory name who is reached over it"


def of_incident(
    bulletin: Bulletin, incidents: Sequence[Wish], channels: Collection[str], clock: datetime
) -> list[Delivery]:
    """Return what tells the operators of a report; no mute holds it back, and no quiet hours."""
    told = Verdict(True, "incident: reports go to the operators")
    operators = [Recipient(wish.channel, wish.recipient, "operator", Defaults()) for wish in incidents]
    return [
        deliver(
            bulletin.subject,
            Occasion.INCIDENT,
            each,
            told if each.channel in channels else without_channel(each.channel),
            clock,
            is_urgent=True,
        )
        for each in dict.fromkeys(operators)
    ]


def of_test(bulletin: Bulletin, channels: Collection[str], mutes: Sequence[Mute], clock: datetime) -> list[Delivery]:
    """Return what a test amounts to: a notice, or the reason why none comes, for each channel that could bring one."""
    deliveries = []
    for to, verdict in _tested(bulletin, channels):
        mute = silence(mutes, to, bulletin.created_at, job=None, group=None)
        kept = Verdict(False, muted(mute)) if mute and verdict.is_told else verdict
        deliveries.append(deliver(bulletin.subject, Occasion.TEST, to, kept, clock, is_urgent=True))
    return deliveries


def _tested(bulletin: Bulletin, channels: Collection[str]) -> Iterator[tuple[Recipient, Verdict]]:
    wished = [wish for wish in bulletin.wishes if wish.recipient]
    for wish in dict.fromkeys(replace(wish, person=wish.person or bulletin.by) for wish in wished):
        to = Recipient(wish.channel, wish.recipient, "owner", Defaults(), wish.person, bulletin.time_zone)
        if wish.channel in channels:
            yield to, Verdict(True, f"test: asked for by {bulletin.by}")
        else:
            known = ", ".join(sorted(channels)) or "none"
            yield to, Verdict(False, f"no-channel: {wish.channel} is not set up here; the channels are: {known}")
    for channel in sorted(set(channels) - {wish.channel for wish in wished}):
        to = Recipient(channel, "", "owner", Defaults(), bulletin.by, bulletin.time_zone)
        yield to, Verdict(False, f"no-recipient: {_NAMED.get(channel, _NAMED_ELSEWHERE)}")


class Announcer:
    """Plans bulletins for one process; ``channels`` are those that it sends over."""

    def __init__(
        self, database: Database, ledger: Ledger, incidents: Sequence[Wish], channels: Collection[str],
        on_planned: Callable[[], None],
    ) -> None:  # fmt: skip
        self._database = database
        self._bulletins = BulletinStore(database)
        self._mutes = MuteStore(database)
        self._ledger = ledger
        self._incidents = incidents
        self._channels = channels
        self._on_planned = on_planned

    async def sweep(self) -> None:
        """Plan every bulletin of which nobody is told yet; two who do so at once plan it once."""
        for bulletin in await self._bulletins.unplanned():
            try:
                await self._plan(bulletin)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: BLE001 - what is wrong with one keeps no other from being planned
                _log.exception("a bulletin could not be planned", bulletin=bulletin.id, kind=bulletin.kind)

    async def _plan(self, bulletin: Bulletin) -> None:
        clock = await self._database.now()
        if bulletin.kind is SubjectKind.INCIDENT:
            deliveries = of_incident(bulletin, self._incidents, self._channels, clock)
            if not deliveries:
                _log.warning("a problem was reported, and no operator is configured to be told", report=bulletin.id)
        else:
            places = ((wish.channel, wish.recipient) for wish in bulletin.wishes)
            deliveries = of_test(bulletin, self._channels, await self._mutes.touching([bulletin.by], places), clock)
        new = await self._ledger.insert(deliveries)
        if new:
            count_planned(new)
            self._on_planned()
        await self._bulletins.settle(bulletin.id)
