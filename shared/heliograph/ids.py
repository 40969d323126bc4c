"""Identifiers: ULIDs that rise within a process, so that a list by id is a list by age."""

import secrets
import threading

from ulid import ULID

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a ULID (26 characters of Crockford's base 32) greater than every earlier one of this process."""
    global _last  # noqa: PLW0603 - the one counter that makes ids of one millisecond rise
    fresh = int(ULID())
    with _lock:
        _last = fresh if fresh > _last else _last + 1
        value = _last
    return str(ULID.from_int(value))


def new_token() -> str:
    """Return 32 characters that nobody can guess and no two calls share; quicker than an id, and in no order."""
    return secrets.token_hex(16)


def short_id(identifier: str) -> str:
    """Return the last 8 characters: the first ones of a ULID are a clock and alike for jobs of the same minute."""
    return identifier[-8:]
