"""What a token's claims wish to be told.

The claims are those of the user tokens that people hold already: for e-mail ``mssub``, ``intsub``, ``msdone``,
``mstout``, ``tem`` and ``msfail``; the recipient is the token's subject, where that is an address, else its ``email``.
"""

from collections.abc import Mapping
from typing import Any

from heliograph.notices.model import Wish

_SPECIAL = frozenset('()<>[]:;@\\,"')  # RFC 5322, 3.2.3: with one of these it could be read as two recipients
_LONGEST_SECONDS = 10 * 366 * 86_400.0  # more is surely a mistake, and dates overflow


def email_wish(claims: Mapping[str, Any]) -> Wish | None:
    """Return what the claims wish over e-mail; None where they name no address.

    A claim of the wrong type counts as absent: a token that is otherwise valid must not fail a request over it.
    """
    recipient = next((each for each in (claims.get("sub"), claims.get("email")) if _is_address(each)), None)
    if recipient is None:
        return None
    return Wish(
        "email", recipient, submitted=_boolean(claims.get("mssub")), interval_seconds=_seconds(claims.get("intsub")),
        done=_boolean(claims.get("msdone")), done_after_threshold=_boolean(claims.get("mstout")),
        threshold_seconds=_seconds(claims.get("tem")), failed=_boolean(claims.get("msfail")),
    )  # fmt: skip


def email_claims(wish: Wish) -> dict[str, Any]:
    """Return the claims that ``email_wish`` reads as this wish."""
    return {
        "email": wish.recipient, "mssub": wish.submitted, "intsub": wish.interval_seconds, "msdone": wish.done,
        "mstout": wish.done_after_threshold, "tem": wish.threshold_seconds, "msfail": wish.failed,
    }  # fmt: skip


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable() or value != value.strip() or " " in value:
        return False
    local, at, domain = value.rpartition("@")
    if _SPECIAL.intersection(local + domain):
        return False
    return bool(local and at and domain and len(value) <= 254)  # RFC 5321, 4.5.3.1.3


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= _LONGEST_SECONDS else None
