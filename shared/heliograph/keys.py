"""Secret keys among the settings: how several are written, and which are too weak to start with."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

LEAST_KEY_BYTES = 32  # RFC 7518, 3.2: a key at least as long as the hash
_LEAST_CHARACTERS = 10  # different ones; of a random key in hex, 32 characters long, one in 100,000 has fewer
_PLACEHOLDERS = ("change", "secret", "password", "example", "placeholder")


def _split(value: Any) -> Any:
    """Read keys separated by commas, or as a JSON list."""
    if not isinstance(value, str):
        return value
    if not value.startswith("["):
        return [key.strip() for key in value.split(",") if key.strip()]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("begins as a JSON list and is none") from None  # the error would quote the keys


def _split_or_none(value: Any) -> Any:
    return _split(value) or None


def _require_strong(key: str) -> str:
    if len(key.encode()) < LEAST_KEY_BYTES:
        raise ValueError(f"is too weak: a key needs at least {LEAST_KEY_BYTES} bytes")
    if len(set(key)) < _LEAST_CHARACTERS or _is_repeated(key):
        raise ValueError("is too weak: it repeats a few characters")
    if any(word in key.casefold() for word in _PLACEHOLDERS):
        raise ValueError("is too weak: it reads like the placeholder of an example")
    return key


def _is_repeated(key: str) -> bool:
    """Say whether a key is one piece twice or more, the last perhaps without its end."""
    pieces = (key[:length] for length in range(1, (len(key) + 1) // 2 + 1))
    return any((piece * len(key)).startswith(key) for piece in pieces)


def _require_all_strong(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not keys:
        raise ValueError("is empty")
    for key in keys:
        _require_strong(key)
    return keys


def _require_strong_or_none(keys: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return keys and _require_all_strong(keys)


def _one_or_none(value: Any) -> Any:
    return value or None


Key = Annotated[str, AfterValidator(_require_strong)]
OptionalKey = Annotated[Key | None, BeforeValidator(_one_or_none)]
Keys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_require_all_strong)]
OptionalKeys = Annotated[
    tuple[str, ...] | None, NoDecode, BeforeValidator(_split_or_none), AfterValidator(_require_strong_or_none)
]
