"""User tokens: JWTs signed HS256 with the platform's signing keys.

The claims are those of the user tokens that the astronomy platform's clients hold already: ``sub`` (else ``email``),
``name``, ``roles`` (a list, or one string with commas), ``exp``, and the notification claims.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from heliograph.errors import UnauthenticatedError
from heliograph.identity.identity import ANONYMOUS, Identity
from heliograph.identity.roles import Role

ALGORITHM = "HS256"
MOST_KNOWN = 4096  # verifying one costs 50 us, a tenth of a submission; one takes about 1 kB, and at most some 30
MOST_TOKEN_CHARACTERS = 8192  # as much as most web servers take as a header


class Tokens:
    """Verifies tokens, and signs new ones with the first key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._known: dict[str, tuple[Identity, float]] = {}

    def verify(self, token: str) -> Identity:
        """Return who a token stands for. One that was verified before is known until it expires.

        Raises
        ------
        UnauthenticatedError
            It is expired, was signed with another key, or is no token of this kind.
        """
        if len(token) > MOST_TOKEN_CHARACTERS:
            raise UnauthenticatedError(f"the token is not valid: it is longer than {MOST_TOKEN_CHARACTERS} characters")
        known = self._known.get(token)
        if known and known[1] > time.time():
            return known[0]
        claims, expiry = self._decode(token)
        identity = _identity(claims)
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]  # the oldest; it is verified anew when it comes again
        self._known[token] = identity, expiry
        return identity

    def sign(self, subject: str, *, lifetime: timedelta, roles: Sequence[str] = (), **claims: object) -> str:
        """Make a token for ``subject`` that lasts ``lifetime``; ``claims`` are added as they are."""
        now = datetime.now(UTC)
        payload = {**claims, "sub": subject, "roles": list(roles), "iat": now, "exp": now + lifetime}
        return jwt.encode(payload, self._keys[0], algorithm=ALGORITHM)

    def _decode(self, token: str) -> tuple[dict[str, Any], float]:
        for key in self._keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, key, algorithms=[ALGORITHM],
                    options={"require": ["exp"], "verify_aud": False, "verify_sub": False, "verify_iat": False},
                )  # fmt: skip
                return claims, float(claims["exp"])
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError as error:
                raise UnauthenticatedError("the token has expired; log in again for a new one") from error
            except jwt.MissingRequiredClaimError as error:
                raise UnauthenticatedError(f"the token lacks the claim {error.claim}") from error
            except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
                raise UnauthenticatedError("the token is not valid") from error
        raise UnauthenticatedError("the token is not valid")


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject = claims.get("sub") or claims.get("email")
    if not isinstance(subject, str) or not subject:
        raise UnauthenticatedError("the token names nobody: it has neither sub nor email")
    if subject == ANONYMOUS.subject:
        raise UnauthenticatedError("the token's subject stands for callers without a token")
    if not subject.isprintable():
        raise UnauthenticatedError("the token's subject holds characters that cannot be printed")
    listed = claims.get("roles") or ()
    words = listed.split(",") if isinstance(listed, str) else listed if isinstance(listed, list) else ()
    roles = {word.strip() for word in words if isinstance(word, str) and word.strip() and word.isprintable()}
    roles.discard(Role.ANONYMOUS.value)
    name = claims.get("name")
    if not isinstance(name, str) or not name.isprintable():
        name = None
    return Identity(subject, frozenset(roles | {Role.USER.value}), name, dict(claims))
