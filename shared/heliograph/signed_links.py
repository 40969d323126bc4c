"""Signed links: an address that is its own credential, for one purpose and until a time.

A token is ``<content>.<mac>``, both in URL-safe base64 without padding: the content is a JSON array of the expiry
(seconds since 1970) and the words that it binds, the MAC is HMAC-SHA256 over the purpose and the content. What it binds
can be read by whoever holds it: nothing secret belongs there.
"""

import base64
import hmac
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

from heliograph.errors import ForbiddenError

MOST_CHARACTERS = 1024  # ours have about 170

_as_json = json.JSONEncoder(separators=(",", ":")).encode
_DOMAIN = b"heliograph-link"  # so that nothing else that a key may have signed reads as a link


class LinkRefusedError(ForbiddenError):
    """The link is not valid."""

    code = "link-refused"


def sign(keys: Sequence[str], purpose: str, words: Sequence[str], expires: datetime) -> str:
    """Make a token that binds ``words`` with the first key.

    Parameters
    ----------
    keys
        The link keys.
    purpose
        What the link is for; a token for another purpose never passes for it.
    words
        What it is about.
    expires
        Until when it holds; rounded up to a second.
    """
    content = _encode(_as_json([math.ceil(expires.timestamp()), *words]).encode())
    return f"{content}.{_mac(keys[0], purpose, content)}"


def check(keys: Sequence[str], purpose: str, token: str, now: datetime) -> tuple[tuple[str, ...], datetime]:
    """Return the words that a token binds, and when it expires.

    Raises
    ------
    LinkRefusedError
        None of the keys signed it for this purpose, it was changed, or it has expired.
    """
    content, _, mac = token.partition(".")
    if len(token) > MOST_CHARACTERS or not token.isascii():
        raise LinkRefusedError("this link is not valid: it was not made here, or it was changed")
    matches = [hmac.compare_digest(_mac(key, purpose, content), mac) for key in keys]  # all: the time tells nothing
    if not any(matches):
        raise LinkRefusedError("this link is not valid: it was not made here, or it was changed")
    seconds, *words = json.loads(_decode(content))
    expires = datetime.fromtimestamp(seconds, UTC)
    if expires <= now:
        raise LinkRefusedError("this link has expired")
    return tuple(words), expires


def _mac(key: str, purpose: str, content: str) -> str:
    message = b"\0".join((_DOMAIN, purpose.encode(), content.encode()))
    return _encode(hmac.digest(key.encode(), message, sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
