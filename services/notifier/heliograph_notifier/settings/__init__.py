"""The notifier's settings."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from heliograph.notices.addresses import is_recipient
from heliograph.notices.model import Wish
from heliograph.settings import PREFIX, LinkSettings
from heliograph_notifier.campaigns.rules import Terms
from heliograph_notifier.contacts.file import FileContacts
from heliograph_notifier.disclosure import Disclosure, disclosures
from heliograph_notifier.recipients import Defaults
from heliograph_notifier.settings.email import EmailSettings
from heliograph_notifier.settings.matrix import MatrixSettings
from heliograph_notifier.settings.words import Words


class NotifierSettings(EmailSettings, MatrixSettings, LinkSettings):
    """What the notifier needs to know."""

    site_name: str = Field(
        default="Heliograph", min_length=1, max_length=60, description="What messages call this site"
    )
    copies_to: Annotated[Words, NoDecode] = Field(
        default=(),
        description="Who gets a copy of what owners are told, separated by commas: email:ops@example.org, matrix:!room",
    )
    incidents_to: Annotated[Words, NoDecode] = Field(
        default=(), description="Who is told of reported problems, written as the copies are"
    )
    contacts_file: Path | None = Field(default=None, description="The contact directory as a YAML file")
    contacts_url: str | None = Field(
        default=None, repr=False, description="Or as a database: mysql+pymysql://user:password@host/lims"
    )
    contacts_query: str | None = Field(
        default=None,
        validate_default=True,
        description="The SQL that finds people: columns recipient, role and channel, for :subject",
    )
    contacts_seconds: float = Field(
        default=300.0, ge=0, description="How long what the database said is remembered, at least 15"
    )
    disclosure: Annotated[Words, NoDecode] = Field(
        default=(),
        description="What is said on channels where it is not encrypted, as email=outline,apprise=full: full, outline "
        "or nothing; where a channel is not named, full by email and in Matrix rooms, and outline elsewhere",
    )
    digest_settle_seconds: float = Field(
        default=20.0, ge=0, description="How long a group has to be over before people are told of it as a whole"
    )
    digest_failing_share: float = Field(
        default=0.25, gt=0, le=1, description="The share of failed jobs at which people get an early word of a group"
    )
    digest_failing_least: int = Field(default=10, ge=1, description="Of so many ended jobs at least")
    notices_retention_days: float = Field(default=90.0, ge=1, description="How long it is kept who was told what")
    senders: int = Field(
        default=8, ge=1, le=64, description="How many notices are sent at the same time over each channel"
    )
    send_lease_seconds: float = Field(
        default=90.0, ge=1, description="After this, a notice whose sender fell silent is sent by another"
    )
    metrics_host: str = Field(default="0.0.0.0", description="Where health and metrics are served")  # noqa: S104 - probes come from outside the container
    metrics_port: int | None = Field(default=8002, ge=0, le=65_535, description="Port of health and metrics")

    @field_validator("copies_to", "incidents_to")
    @classmethod
    def _are_recipients(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        _wishes(words)
        return words

    @field_validator("contacts_file")
    @classmethod
    def _is_directory(cls, path: Path | None) -> Path | None:
        if path is not None:
            FileContacts(path)
        return path

    @field_validator("contacts_url")
    @classmethod
    def _is_only_directory(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None:
            from heliograph_notifier.contacts.engines import open_engine  # noqa: PLC0415 - loads SQLAlchemy

            open_engine(url)
            if info.data.get("contacts_file") is not None:
                raise ValueError("is set beside HELIOGRAPH_CONTACTS_FILE: there is one contact directory, set one")
        return url

    @field_validator("contacts_query")
    @classmethod
    def _is_query(cls, query: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("contacts_url")
        if query is None and url is not None:
            raise ValueError("is not set, and HELIOGRAPH_CONTACTS_URL is")
        if query is not None and "contacts_url" in info.data and url is None:
            raise ValueError("is set without HELIOGRAPH_CONTACTS_URL")
        if query is None:
            return None
        from heliograph_notifier.contacts.query import judge_query  # noqa: PLC0415 - loads SQLAlchemy

        return judge_query(query)

    @field_validator("disclosure")
    @classmethod
    def _are_disclosures(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        disclosures(words)
        return words

    @property
    def disclosures(self) -> Mapping[str, Disclosure]:
        """How much may be said over each channel where it is not encrypted."""
        return disclosures(self.disclosure)

    @property
    def defaults(self) -> Mapping[str, Defaults]:
        """What holds on each channel where nobody states anything."""
        return {"email": self.email_defaults, "matrix": self.matrix_defaults}

    @property
    def digest_terms(self) -> Terms:
        """When groups are told of as a whole."""
        return Terms(self.digest_settle_seconds, self.digest_failing_share, self.digest_failing_least)

    @property
    def copies(self) -> tuple[Wish, ...]:
        """Who gets copies."""
        return _wishes(self.copies_to)

    @property
    def incidents(self) -> tuple[Wish, ...]:
        """Who is told of reported problems."""
        return _wishes(self.incidents_to)

    @property
    def retention(self) -> timedelta:
        """How long it is kept who was told what."""
        return timedelta(days=self.notices_retention_days)

    def options(self, channel: str) -> dict[str, str]:
        """Return the settings of a channel that others add: those of ``HELIOGRAPH_CHANNEL_<NAME>_…``."""
        prefix = f"{PREFIX}CHANNEL_{channel.upper().replace('-', '_')}_"
        return {
            name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)
        }


def _wishes(words: tuple[str, ...]) -> tuple[Wish, ...]:
    found = []
    for word in words:
        channel, colon, recipient = word.partition(":")
        if not colon or not is_recipient(channel, recipient):
            raise ValueError(f"{word} is not a channel and a recipient, such as email:ops@example.org")
        found.append(Wish(channel, recipient))
    return tuple(found)
