"""Which notices a caller may see: those to them, and to whomever their own submission named."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action
from heliograph.jobs.model import Job
from heliograph.notices.model import Delivery
from heliograph.notices.notify import Notify
from heliograph.wire import NoticeView
from heliograph_api.person import places_of

_CONTACTS = "contacts"  # stands for a channel where the ledger says of a subject that nobody was found for it


async def shown(
    request: Request, caller: Identity, deliveries: Sequence[Delivery], job: Job | None = None
) -> dict[str, Any]:
    """Return a page's notices as far as the caller may see them, and how many others there are.

    Who watches, where operators get copies and what these have muted is for those who may see everybody's jobs. ``job``
    is the one that all are about.
    """
    seen = list(deliveries)
    if not caller.may(Action.SEE_ALL):
        places = await places_of(request, caller)
        if job is not None and job.owner == caller.subject:
            places |= _named(Notify.from_document(job.notify))
        seen = [
            each for each in deliveries if each.person == caller.subject or (each.channel, each.recipient) in places
        ]
    items = [NoticeView.from_delivery(each).model_dump() for each in seen]
    return {"items": items, "others": len(deliveries) - len(items)}


def _named(notify: Notify) -> frozenset[tuple[str, str]]:
    wishes = [(each.channel, each.recipient) for each in (*notify.asked, *notify.named)]
    return frozenset([*wishes, *((_CONTACTS, each.subject) for each in notify.contacts)])
