"""What somebody may read of a notice who may not read everybody's.

They read the notices to themselves whole. Of one to others they read that these were told, over which channel, when and
how it ended; not to which address, nor what these wish to hear or have muted.
"""

import re
from dataclasses import replace

from heliograph.notices.model import Delivery, SubjectKind

OPERATORS = "operators"
_OTHERS = "others"
# What stands for a recipient, by how they come to be told.
_KINDS = {
    "owner": "owner", "submission": "named", "contact": "contacts", "watch": "watchers", "operator": OPERATORS,
}  # fmt: skip
_RESENT = "resent"  # a reason that names who asked for it
_WISHES = "others: decided by wishes of their own"
# What may be an address, a Matrix room, user or alias, or a link: a server may also quote one that stands behind ours.
_ADDRESS = re.compile(r"\S*(?:@|://|![!-~]|#\S+:)\S*")
_READABLE = frozenset({"email", "matrix"})  # elsewhere nobody can tell an address in what was answered


def disclosed(delivery: Delivery, person: str, places: frozenset[tuple[str, str]]) -> Delivery:
    """Return a notice as a person may read it.

    Parameters
    ----------
    delivery
        The notice.
    person
        Who reads it, as tokens name them.
    places
        The channels and recipients that they know of: their own, and whom their submission named.
    """
    if delivery.person == person or (delivery.channel, delivery.recipient) in places:
        return replace(delivery, reason=_reason(delivery, delivery.reason))
    kind = _kind(delivery)
    return replace(
        delivery,
        recipient=kind if delivery.recipient else "",
        person=None,
        reason=_reason(delivery, delivery.reason if kind == OPERATORS else _WISHES),
        receipt=_without_address(delivery.receipt, delivery, kind),
        attempts=tuple(replace(each, reply=_without_address(each.reply, delivery, kind)) for each in delivery.attempts),
    )


def _kind(delivery: Delivery) -> str:
    if delivery.subject.kind is SubjectKind.INCIDENT:
        return OPERATORS
    return _KINDS.get(delivery.origin or "", _OTHERS)


def _reason(delivery: Delivery, otherwise: str) -> str:
    is_resent = delivery.reason.partition(":")[0] == _RESENT
    return f"{_RESENT}: asked for by an administrator" if is_resent else otherwise


def _without_address(words: str | None, delivery: Delivery, kind: str) -> str | None:
    """Return a server's words with the kind in place of the recipient, of its parts, and of all that reads like one."""
    if words is None or delivery.channel not in _READABLE:
        return None
    words = _ADDRESS.sub(kind, words)
    for part in filter(None, delivery.recipient.rpartition("@")[::2]):
        words = re.sub(rf"(?<![\w.-]){re.escape(part)}(?![\w-])", kind, words, flags=re.IGNORECASE)
    return words
