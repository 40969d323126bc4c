"""What somebody may read of a notice who may not read everybody's.

They read the notices to themselves whole. Of one to others they read that these were told, over which channel, when and
how it ended; not to which address, unless they named it, nor what these wish to hear or have muted, nor what their
server said: its words may name the address, one that stands behind it, or the person.
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
_NOBODY = frozenset[tuple[str, str]]()
_RESENT = "resent"  # a reason that names who asked for it
_WISHES = "others: decided by wishes of their own"
# What says how it ended and nothing else: a reply's code (RFC 5321) with the enhanced one (RFC 3463), an error code of
# Matrix' own, or the status of what answered in the place of a homeserver.
_CODES = {
    "email": re.compile(r"[2-5][0-9]{2}(?: [245]\.[0-9]{1,3}\.[0-9]{1,3}(?!\S))?(?!\S)"),
    "matrix": re.compile(r"M_[A-Z_]{1,64}(?![^\s:;])|HTTP [1-5][0-9]{2}(?!\S)"),
}


def disclosed(
    delivery: Delivery, person: str, places: frozenset[tuple[str, str]], named: frozenset[tuple[str, str]] = _NOBODY
) -> Delivery:
    """Return a notice as a person may read it.

    Parameters
    ----------
    delivery
        The notice.
    person
        Who reads it, as tokens name them.
    places
        The channels and recipients that are their own.
    named
        Those that their submission named, and that they know of therefore.
    """
    if delivery.person == person or (delivery.channel, delivery.recipient) in places:
        return replace(delivery, reason=_reason(delivery, delivery.reason))
    kind = _kind(delivery)
    is_named = (delivery.channel, delivery.recipient) in named
    return replace(
        delivery,
        recipient=kind if delivery.recipient and not is_named else delivery.recipient,
        person=None,
        reason=_reason(delivery, delivery.reason if kind == OPERATORS and not is_named else _WISHES),
        receipt=_code(delivery.channel, delivery.receipt),
        attempts=tuple(replace(each, reply=_code(delivery.channel, each.reply)) for each in delivery.attempts),
    )


def _kind(delivery: Delivery) -> str:
    if delivery.subject.kind is SubjectKind.INCIDENT:
        return OPERATORS
    return _KINDS.get(delivery.origin or "", _OTHERS)


def _reason(delivery: Delivery, otherwise: str) -> str:
    is_resent = delivery.reason.partition(":")[0] == _RESENT
    return f"{_RESENT}: asked for by an administrator" if is_resent else otherwise


def _code(channel: str, words: str | None) -> str | None:
    """Return the code that a server's words begin with, None where they begin otherwise."""
    pattern = _CODES.get(channel)
    found = pattern.match(words) if pattern and words else None
    return found[0] if found else None
