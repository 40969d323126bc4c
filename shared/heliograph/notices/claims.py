"""What a token's claims wish to be told.

The claims are those of the user tokens that people hold already: for e-mail ``mssub``, ``intsub``, ``msdone``,
``mstout``, ``tem`` and ``msfail``, for Matrix ``mxroomid``, ``mxsub``, ``mxintsub``, ``mxdone``, ``mxstout``, ``tmx``
and ``mxfail``. The address is the token's subject, where that is an address, else its ``email``; ``zoneinfo`` is the
standard claim for a person's time zone (OpenID Connect Core 1.0, 5.1).
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any
from zoneinfo import available_timezones

from heliograph.notices.addresses import is_address, is_room
from heliograph.notices.model import Wish

_LONGEST_SECONDS = 10 * 366 * 86_400.0  # more is surely a mistake, and dates overflow

# For each channel: the fields of a wish and the claims that state them.
CLAIMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "email": {
            "submitted": "mssub", "interval_seconds": "intsub", "done": "msdone", "done_after_threshold": "mstout",
            "threshold_seconds": "tem", "failed": "msfail",
        },
        "matrix": {
            "submitted": "mxsub", "interval_seconds": "mxintsub", "done": "mxdone", "done_after_threshold": "mxstout",
            "threshold_seconds": "tmx", "failed": "mxfail",
        },
    }
)  # fmt: skip
ROOM_CLAIM = "mxroomid"


def claimed_wishes(claims: Mapping[str, Any]) -> tuple[Wish, ...]:
    """Return what the claims wish, a wish for each channel; one without a recipient has an empty one.

    A claim of the wrong type counts as absent: a token that is otherwise valid must not fail a request over it.
    """
    recipients = {"email": address_of(claims) or "", "matrix": room_of(claims) or ""}
    return tuple(
        Wish(channel, recipient, **_fields(claims, CLAIMS[channel])) for channel, recipient in recipients.items()
    )


def claims_of(wishes: tuple[Wish, ...], time_zone: str | None = None) -> dict[str, Any]:
    """Return the claims that ``claimed_wishes`` and ``time_zone_of`` read as these."""
    claims: dict[str, Any] = {"zoneinfo": time_zone}
    for wish in wishes:
        claims |= {claim: getattr(wish, field) for field, claim in CLAIMS.get(wish.channel, {}).items()}
        if wish.channel == "email":
            claims["email"] = wish.recipient
        elif wish.channel == "matrix":
            claims[ROOM_CLAIM] = wish.recipient
    return {claim: value for claim, value in claims.items() if value not in (None, "")}


def address_of(claims: Mapping[str, Any]) -> str | None:
    """Return the mail address that the claims name."""
    return next(iter(addresses_of(claims)), None)


def addresses_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all that the claims name; not one of which the issuer says that it is not verified."""
    email = claims.get("email") if claims.get("email_verified") is not False else None
    return tuple(each for each in (claims.get("sub"), email) if is_address(each))


def room_of(claims: Mapping[str, Any]) -> str | None:
    """Return the Matrix room that the claims name."""
    room = claims.get(ROOM_CLAIM)
    return room if is_room(room) else None


def time_zone_of(claims: Mapping[str, Any]) -> str | None:
    """Return the time zone that the claims name."""
    name = claims.get("zoneinfo")
    return name if isinstance(name, str) and name in _time_zones() else None


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())  # reads the folder of zones: 6 ms


def _fields(claims: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    read: dict[str, Callable[[object], Any]] = {"interval_seconds": _seconds, "threshold_seconds": _seconds}
    return {field: read.get(field, _boolean)(claims.get(claim)) for field, claim in names.items()}


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= _LONGEST_SECONDS else None
