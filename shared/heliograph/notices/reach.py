"""Where a person can be reached: what their token names, what they have proven to be theirs, what they prefer.

Nobody may have notices sent to a stranger: an address is theirs where their token names it, a Matrix room where it
does, or where the Matrix user that they have linked was seen in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from heliograph.errors import InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action, roles_that_may
from heliograph.notices.addresses import is_recipient
from heliograph.notices.claims import addresses_of, room_of
from heliograph.notices.model import Wish
from heliograph.notices.preferences import Preferences

_HOW = {
    "email": "your token names another address, or none; log in with the one that is to be told",
    "matrix": "this room is not proven to be yours: link your Matrix user (POST /v1/me/matrix, or `heliograph notify "
    "link @you:server`), invite the bot to the room and write something there",
}


def reached(claimed: Iterable[Wish], preferences: Preferences) -> tuple[Wish, ...]:
    """Return what holds for a person on each channel where they can be reached; what is None is the platform's.

    For each field, preferences go before claims.
    """
    by_claim = {wish.channel: wish for wish in claimed}
    merged = (
        _over(preferences.wishes.get(channel), by_claim.get(channel))
        for channel in dict.fromkeys([*by_claim, *preferences.wishes])
    )
    return tuple(replace(wish, person=preferences.person) for wish in merged if wish.recipient)


def own_places(claims: Mapping[str, Any], rooms: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Return the channels and recipients that are a person's own, ``rooms`` being those that they have proven."""
    room = room_of(claims)
    places = [("email", each) for each in addresses_of(claims)] + [("matrix", each) for each in rooms]
    return frozenset(places if room is None else [*places, ("matrix", room)])


def require_own(caller: Identity, places: frozenset[tuple[str, str]], field: str, channel: str, recipient: str) -> None:
    """Refuse a recipient that is not the caller's own, unless their roles let them name others.

    Raises
    ------
    InvalidInputError
        It is not, or it is no recipient of the channel; the error names ``field`` and says how to prove it.
    """
    if not is_recipient(channel, recipient):
        raise InvalidInputError.of(field, f"this is no recipient on the channel {channel}")
    if (channel, recipient) not in places and not caller.may(Action.NAME_RECIPIENTS):
        who = ", ".join(roles_that_may(Action.NAME_RECIPIENTS))
        how = _HOW.get(channel, "it is not known to be yours")
        raise InvalidInputError.of(field, f"{how}; to name others takes one of these roles: {who}")


def _over(upper: Wish | None, lower: Wish | None) -> Wish:
    """Return one wish of two on the same channel; what the upper one leaves open is the lower one's."""
    if upper is None or lower is None:
        found = upper or lower
        assert found is not None
        return found
    stated = {name: getattr(upper, name) for name in _FIELDS if getattr(upper, name) not in {None, ""}}
    return replace(lower, **stated)


_FIELDS = tuple(each.name for each in fields(Wish) if each.name not in {"channel", "person"})
