"""What may stand for a recipient: a bare mail address, a Matrix room, a Matrix user."""

import re
from typing import TypeGuard

_SPECIAL = frozenset('()<>[]:;@\\,"')  # RFC 5322, 3.2.3: with one of these it could be read as two recipients
# Identifiers of the Matrix specification, v1.16, appendix 4.2: at most 255 bytes; a room of version 12 has no server.
_ROOM = re.compile(r"![!-~]{1,254}")
_USER = re.compile(r"@[!-9;-~]{1,200}:[A-Za-z0-9.\-\[\]:]{1,230}")
MOST_BYTES = 255


def is_address(value: object) -> TypeGuard[str]:
    """Say whether a value is the bare address of one mailbox."""
    if not isinstance(value, str) or not value.isprintable() or value != value.strip() or " " in value:
        return False
    local, at, domain = value.rpartition("@")
    if _SPECIAL.intersection(local + domain):
        return False
    return bool(local and at and domain and len(value) <= 254)  # RFC 5321, 4.5.3.1.3


def is_room(value: object) -> TypeGuard[str]:
    """Say whether a value is the identifier of a Matrix room."""
    return isinstance(value, str) and bool(_ROOM.fullmatch(value))


def is_matrix_user(value: object) -> TypeGuard[str]:
    """Say whether a value is the identifier of a Matrix user, as ``@name:server``."""
    return isinstance(value, str) and len(value) <= MOST_BYTES and bool(_USER.fullmatch(value))


def is_recipient(channel: str, value: str) -> bool:
    """Say whether a value can be a recipient on a channel; of channels that others add, only that it is one line."""
    match channel:
        case "email":
            return is_address(value)
        case "matrix":
            return is_room(value)
        case _:
            return bool(value) and value.isprintable() and len(value) <= MOST_BYTES
