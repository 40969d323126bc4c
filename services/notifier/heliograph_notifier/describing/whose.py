"""Whose work a notice is about, and why its reader hears of it."""

from collections.abc import Mapping
from types import MappingProxyType

from heliograph.notices.model import Delivery
from heliograph_notifier.readable import one_line

MOST_OWNER = 60  # characters of a name in a headline

_WHY: Mapping[str | None, str] = MappingProxyType(
    {
        "submission": "The submission named you.",
        "watch": "You watch its group or its queue.",
        "contact": "The submission named its contacts, and the contact directory names you.",
        "operator": "This is a copy for operators.",
    }
)


def is_own(delivery: Delivery, owner: str) -> bool:
    """Say whether the reader is who asked for the work."""
    return delivery.origin in {None, "owner"} or delivery.person == owner


def whose(what: str, delivery: Delivery, owner: str) -> str:
    """Return the words that begin a headline: "Your request", or whose it is; ``what`` is "request" or "group"."""
    return f"Your {what}" if is_own(delivery, owner) else f"A {what} of {one_line(owner, MOST_OWNER)}"


def why(delivery: Delivery, owner: str) -> str:
    """Return why the reader is told, as a sentence."""
    own = "You asked for this work."
    return own if is_own(delivery, owner) else _WHY.get(delivery.origin, own)
