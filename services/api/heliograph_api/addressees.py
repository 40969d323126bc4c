"""Notices as a caller may read them: those to them whole, those to whomever their submission named with the address."""

from collections.abc import Iterable

from fastapi import Request

from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action
from heliograph.jobs.model import Job
from heliograph.notices.disclosed import disclosed
from heliograph.notices.model import Delivery
from heliograph.notices.notify import Notify
from heliograph.wire import NoticeView
from heliograph_api.person import places_of

_CONTACTS = "contacts"  # stands for a channel where the ledger says of a subject that nobody was found for it


async def shown(
    request: Request, caller: Identity, deliveries: Iterable[Delivery], job: Job | None = None
) -> list[NoticeView]:
    """Return notices as far as the caller may read them; ``job`` is the one that all are about."""
    if not caller.may(Action.SEE_ALL):
        places, named = await places_of(request, caller), frozenset[tuple[str, str]]()
        if job is not None and job.owner == caller.subject:
            notify = Notify.from_document(job.notify)
            named = frozenset((each.channel, each.recipient) for each in notify.named)
            places |= {(_CONTACTS, each.subject) for each in notify.contacts}
        deliveries = [disclosed(each, caller.subject, places, named) for each in deliveries]
    return [NoticeView.from_delivery(each) for each in deliveries]
