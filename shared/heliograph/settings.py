"""What the settings of the services share: where they come from, and how a missing one is told.

Each service has one frozen object of settings, made at start from the environment (``HELIOGRAPH_...``; a secret may
be a file named by ``HELIOGRAPH_..._FILE``). Nothing else reads the environment.
"""

import os
import sys
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from heliograph.faults import Point
from heliograph.keys import OptionalKeys

PREFIX = "HELIOGRAPH_"
_WORDS = {"missing": "is not set", "string_pattern_mismatch": "is not of the form that it takes"}


class SecretFileError(Exception):
    """A file that a setting names cannot be read."""


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a setting from the file that ``HELIOGRAPH_<NAME>_FILE`` names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the base's signature
        """Return the file's content without the line end."""
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SecretFileError(f"{variable} names {path}, which cannot be read: {why}") from error

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class ServiceSettings(BaseSettings):
    """What every service needs to know."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    mongodb_url: str = Field(
        pattern=r"^mongodb(\+srv)?://",
        repr=False,
        description="MongoDB, the truth: mongodb://host:27017/?replicaSet=rs0",
    )
    mongodb_database: str = Field(default="heliograph", description="The database's name")
    bus_url: str = Field(
        pattern="^(amqps?|memory)://",
        repr=False,
        description="The bus: amqp://user:password@host:5672/ or, in one process, memory://",
    )
    public_url: str = Field(
        default="http://localhost:8000",
        pattern="^https?://",
        description="Where people reach the api; links in messages begin with it",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="The least that is logged"
    )
    fault_point: Point | None = Field(default=None, description="For tests alone: where this process kills itself")

    @field_validator("bus_url")
    @classmethod
    def _readable_bus_url(cls, value: str) -> str:
        if not _is_readable(value):
            raise ValueError("is not a URL; in a user's name or a password, / is written %2F, @ %40, : %3A and # %23")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then secret files."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @classmethod
    def load(cls) -> Self:
        """Read the settings, or end the process with a message that says what to set."""
        try:
            return cls()
        except ValidationError as error:
            sys.exit(explain(cls, error))
        except SecretFileError as error:
            sys.exit(f"heliograph cannot start:\n  {error}")


class LinkSettings(ServiceSettings):
    """What a service needs to know besides, that signs links or checks them."""

    link_keys: OptionalKeys = Field(
        default=None,
        description="keys of signed links, the same for the api, all workers and all notifiers, written as the signing "
        "keys are; without any, outside systems cannot call back, and messages have no links to hear less; make one "
        "with: openssl rand -hex 32",
        repr=False,
    )


class SealSettings(ServiceSettings):
    """What a service needs to know besides, that keeps secrets in the database or opens them."""

    seal_keys: OptionalKeys = Field(
        default=None,
        description="keys that seal secrets in the database, the same for all services: secret parameters of jobs, and "
        "the Matrix device; written as the signing keys are, the first seals and all open; without any, submissions "
        "that give a secret are refused; make one with: openssl rand -hex 32",
        repr=False,
    )


def _is_readable(url: str) -> bool:
    """Say whether a URL names a host; one whose password has a bare ``/``, ``?``, ``#`` or ``@`` names half of it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme == "memory":
        return True
    return (
        bool(parts.hostname) and parts.netloc.count("@") <= 1 and "@" not in parts.path + parts.query + parts.fragment
    )


def explain(settings: type[ServiceSettings], error: ValidationError) -> str:
    """Say in a few lines which settings are missing or wrong, and what each is for."""
    lines = ["heliograph cannot start:"]
    for fault in error.errors(include_url=False, include_input=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        about = settings.model_fields[name].description if name in settings.model_fields else None
        wrong = _WORDS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
        lines.append(f"  {PREFIX}{name.upper()} {wrong}" + (f" ({about})" if about else ""))
    return "\n".join(lines)
