"""The names and media types of artifacts."""

import mimetypes

from heliograph.backends.failures import clean
from heliograph.masking import Mask

_LONGEST_NAME = 255  # what file systems take, so that every artifact can be saved under its name
_LONGEST_MEDIA_TYPE = 100
_ANY_BYTES = "application/octet-stream"


def check_name(name: str) -> str:
    """Return ``name``, or raise ``ValueError`` where it cannot name an artifact."""
    encodable = name.encode(errors="replace").decode() == name
    if not 0 < len(name) <= _LONGEST_NAME or name in {".", ".."} or "/" in name or not encodable:
        raise ValueError(f"an artifact's name is 1 to {_LONGEST_NAME} characters without a slash: {name[:80]!a}")
    if not name.isprintable():
        raise ValueError(f"an artifact's name holds no control characters: {name[:80]!a}")
    return name


def media_type_of(name: str) -> str:
    """Guess a media type from a file's name."""
    guessed, encoding = mimetypes.guess_type(name)
    return _ANY_BYTES if guessed is None or encoding else guessed


def shown_media_type(media_type: str, mask: Mask | None) -> str:
    """Return a media type as it is kept: of any bytes where it holds a secret, for with a mask it would be none."""
    if mask and mask.text(media_type) != media_type:
        return _ANY_BYTES
    return clean(media_type, _LONGEST_MEDIA_TYPE)
