"""The api's settings."""

import json
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from heliograph.identity.tokens import LEAST_KEY_BYTES
from heliograph.settings import ServiceSettings

_MEBIBYTE = 1024 * 1024
_LEAST_CHARACTERS = 10  # different ones; of a random key in hex, 32 characters long, one in 100,000 has fewer
_PLACEHOLDERS = ("change", "secret", "password", "example", "placeholder")


class ApiSettings(ServiceSettings):
    """What the api needs to know."""

    signing_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        description="keys of the user tokens, at least 32 bytes each, separated by commas or as a JSON list; the first "
        "signs, all verify; make one with: openssl rand -hex 32",
        repr=False,
    )
    identity_key: str = Field(
        description="key of the hash that tells equal requests, at least 32 bytes; never change it; make one with: "
        "openssl rand -hex 32",
        repr=False,
    )
    host: str = Field(default="0.0.0.0", description="The address to listen on")  # noqa: S104 - it is a container's own
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on")
    allow_anonymous: bool = Field(default=False, description="Whether callers without a token may submit")
    most_body_bytes: int = Field(default=_MEBIBYTE, ge=1024, description="The largest JSON body")
    most_upload_bytes: int = Field(default=512 * _MEBIBYTE, ge=1024, description="The largest uploaded file")
    retention_days: float = Field(default=0, ge=0, description="Days that ended jobs are kept; 0 keeps them for ever")

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value.startswith("["):
            return [key.strip() for key in value.split(",") if key.strip()]
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("begins as a JSON list and is none") from None  # the error would quote the keys

    @field_validator("signing_keys")
    @classmethod
    def _strong_signing_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("is empty")
        for key in value:
            _require_strong(key)
        return value

    @field_validator("identity_key")
    @classmethod
    def _strong_identity_key(cls, value: str) -> str:
        _require_strong(value)
        return value


def _require_strong(key: str) -> None:
    if len(key.encode()) < LEAST_KEY_BYTES:
        raise ValueError(f"is too weak: a key needs at least {LEAST_KEY_BYTES} bytes")
    if len(set(key)) < _LEAST_CHARACTERS or _is_repeated(key):
        raise ValueError("is too weak: it repeats a few characters")
    if any(word in key.casefold() for word in _PLACEHOLDERS):
        raise ValueError("is too weak: it reads like the placeholder of an example")


def _is_repeated(key: str) -> bool:
    """Say whether a key is one piece twice or more, the last perhaps without its end."""
    pieces = (key[:length] for length in range(1, (len(key) + 1) // 2 + 1))
    return any((piece * len(key)).startswith(key) for piece in pieces)
