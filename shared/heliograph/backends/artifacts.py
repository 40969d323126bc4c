"""The names and media types of artifacts."""

import mimetypes

_LONGEST_NAME = 255  # what file systems take, so that every artifact can be saved under its name


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
    return "application/octet-stream" if guessed is None or encoding else guessed
