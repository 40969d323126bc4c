"""Seals secrets that lie in the database: encrypted and authenticated, each for one purpose.

The keys of the settings are not used as they are: for each purpose a key is derived from each of them (HKDF, RFC 5869),
so that what was sealed for one purpose never opens for another. The first key seals, all of them open: a key is
replaced by putting the new one in front.
"""

import base64
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from heliograph.errors import HeliographError

_DOMAIN = b"heliograph-seal"  # so that nothing else that a key is used for makes the same keys
_KEY_BYTES = 32  # Fernet: 16 sign, 16 encrypt


class SealBrokenError(HeliographError):
    """What was sealed cannot be opened with these keys: they are others, or it was changed."""

    code = "seal-broken"


def seal(keys: Sequence[str], purpose: str, data: bytes) -> bytes:
    """Seal data with the first key; 58 to 73 bytes longer."""
    return base64.urlsafe_b64decode(_fernet(keys, purpose).encrypt(data))  # a third less than its text


def unseal(keys: Sequence[str], purpose: str, sealed: bytes) -> bytes:
    """Open what one of the keys sealed for this purpose.

    Raises
    ------
    SealBrokenError
        None of the keys sealed it for this purpose, or it was changed.
    """
    try:
        return _fernet(keys, purpose).decrypt(base64.urlsafe_b64encode(sealed))
    except InvalidToken as error:
        raise SealBrokenError from error


def _fernet(keys: Sequence[str], purpose: str) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key, purpose))) for key in keys])


def _derived(key: str, purpose: str) -> bytes:
    info = b"\0".join((_DOMAIN, purpose.encode()))
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(key.encode())
