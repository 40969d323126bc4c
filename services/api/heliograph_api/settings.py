"""The api's settings."""

from pydantic import Field

from heliograph.keys import Key, Keys
from heliograph.settings import LinkSettings, SealSettings

_MEBIBYTE = 1024 * 1024


class ApiSettings(LinkSettings, SealSettings):
    """What the api needs to know."""

    signing_keys: Keys = Field(
        description="keys of the user tokens, at least 32 bytes each, separated by commas or as a JSON list; the first "
        "signs, all verify; make one with: openssl rand -hex 32",
        repr=False,
    )
    identity_key: Key = Field(
        description="key of the hash that tells equal requests, at least 32 bytes; never change it; make one with: "
        "openssl rand -hex 32",
        repr=False,
    )
    host: str = Field(default="0.0.0.0", description="The address to listen on")  # noqa: S104 - it is a container's own
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on")
    allow_anonymous: bool = Field(default=False, description="Whether callers without a token may submit")
    most_body_bytes: int = Field(default=_MEBIBYTE, ge=1024, description="The largest JSON body")
    most_batch_bytes: int = Field(
        default=16 * _MEBIBYTE, ge=1024, description="The largest JSON body of a batch of submissions"
    )
    most_upload_bytes: int = Field(default=512 * _MEBIBYTE, ge=1024, description="The largest uploaded file")
    retention_days: float = Field(default=0, ge=0, description="Days that ended jobs are kept; 0 keeps them for ever")
