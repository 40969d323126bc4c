"""Identifiers: ULIDs that rise within a process, so that a list by id is a list by age."""

import os
import secrets
import threading
from time import time_ns

# Crockford's base 32, two characters for each ten bits. Written out here, for an id is made for every job and every
# notice: 2 microseconds, and 5 by way of python-ulid.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))

SHORT_CHARACTERS = 8

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a ULID (26 characters of Crockford's base 32) greater than every earlier one of this process."""
    global _last  # noqa: PLW0603 - the one counter that makes ids of one millisecond rise
    fresh = time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    with _lock:
        _last = fresh if fresh > _last else _last + 1
        value = _last
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def new_token() -> str:
    """Return 32 characters that nobody can guess and no two calls share; quicker than an id, and in no order."""
    return secrets.token_hex(16)


def short_id(identifier: str) -> str:
    """Return the last 8 characters: the first ones of a ULID are a clock and alike for jobs of the same minute."""
    return identifier[-SHORT_CHARACTERS:]
