"""Storing what reaches other people, no more often than one person has reason to."""

from datetime import timedelta

from heliograph.errors import TooManyError
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import SubjectKind
from heliograph_api.parts import Parts

MOST = 20
WITHIN = timedelta(hours=1)
KEPT = {SubjectKind.INCIDENT: timedelta(days=730), SubjectKind.TEST: timedelta(days=30)}


async def report(parts: Parts, bulletin: Bulletin, allowance: str) -> None:
    """Store a bulletin, which a notifier then tells of; ``allowance`` is whose it counts for.

    Raises
    ------
    TooManyError
        There were 20 within the hour.
    """
    if not await parts.allowances.take(allowance, MOST, WITHIN):
        raise TooManyError(f"at most {MOST} of these are taken in an hour; try again later")
    await parts.bulletins.add(bulletin, expires_at=bulletin.created_at + KEPT[bulletin.kind])
