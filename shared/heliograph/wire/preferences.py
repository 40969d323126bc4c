"""What a person prefers to be told, and the Matrix user that is theirs, as a client writes and reads them."""

import functools
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from heliograph.notices.addresses import is_matrix_user
from heliograph.notices.model import Occasion, Wish
from heliograph.wire.submission import ChannelWishes

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_MOST_RECIPIENT = 255


class Weekday(StrEnum):
    """The days of the week, in their order."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


@functools.cache  # it reads the system's folder each time
def time_zones() -> frozenset[str]:
    """Return the names of the time zones that this system knows."""
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError("this is no time zone; one is written as Europe/Zurich")
    return name


def _matrix_user(value: str) -> str:
    if not is_matrix_user(value):
        raise ValueError("this is no Matrix user; one is written as @ada:example.org")
    return value


def _clock(value: str) -> str:
    if not _CLOCK.fullmatch(value):
        raise ValueError(
            'this is no time of day; quiet hours are written as 22:00-07:00, in JSON {"from": "22:00", "to": "07:00"}'
        )
    return value


_Clock = Annotated[str, AfterValidator(_clock), Field(json_schema_extra={"pattern": f"^{_CLOCK.pattern}$"})]


class ChannelPreferences(ChannelWishes):
    """What a person wishes to be told over one channel."""

    done_after_threshold: StrictBool | None = Field(
        default=None, description="False: tell of no job that is done, however long it took"
    )


class EmailPreferences(ChannelPreferences):
    """What a person wishes to be told by mail; what is left out follows the token, then the platform."""

    recipient: Annotated[str, StringConstraints(max_length=_MOST_RECIPIENT)] | None = Field(
        default=None, description="An address that the token names as `sub` or `email`; others take a role"
    )


class MatrixPreferences(ChannelPreferences):
    """What a person wishes to be told in a Matrix room; what is left out follows the token, then the platform."""

    room: Annotated[str, StringConstraints(max_length=_MOST_RECIPIENT)] | None = Field(
        default=None, description="The room that the token names as `mxroomid`, or a proven one; others take a role"
    )


class QuietHoursView(BaseModel):
    """From when until when nothing is sent, by the person's own clock; it may pass midnight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: _Clock = Field(alias="from")
    end: _Clock = Field(alias="to")

    @model_validator(mode="after")
    def _last(self) -> Self:
        if self.begin == self.end:
            raise ValueError("quiet hours that end as they begin have no length")
        return self


class NotificationPreferences(BaseModel):
    """A person's preferences; a PATCH holds those that change (RFC 7396), with null for what is stated no more."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "email": {"submitted": False, "threshold_seconds": 600},
                    "time_zone": "Europe/Zurich",
                    "quiet_hours": {"from": "22:00", "to": "07:00"},
                    "working_days": ["monday", "tuesday", "wednesday", "thursday", "friday"],
                    "urgent": ["failed"],
                }
            ]
        },
    )

    email: EmailPreferences | None = None
    matrix: MatrixPreferences | None = None
    time_zone: Annotated[str, AfterValidator(_known_zone)] | None = Field(
        default=None, description="By which the hours and days below go, and in which times are told; else the token's"
    )
    quiet_hours: QuietHoursView | None = Field(default=None, description="What falls into them is told when they end")
    working_days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] | None = Field(
        default=None, description="The days on which notices are sent; null: every day"
    )
    urgent: Annotated[tuple[Occasion, ...], Field(max_length=len(Occasion))] | None = Field(
        default=None, description="What is told at any hour"
    )

    def stated(self) -> dict[str, Any]:
        """Return what is stated, as JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ChannelDefaults(BaseModel):
    """What holds on a channel where nobody states anything; null is not known."""

    model_config = ConfigDict(frozen=True)

    submitted: bool | None = None
    interval_seconds: float | None = None
    running: bool | None = None
    running_after_seconds: float | None = None
    done: bool | None = None
    done_after_threshold: bool | None = None
    threshold_seconds: float | None = None
    failed: bool | None = None
    digest: bool | None = None


class EffectiveWishes(ChannelDefaults):
    """What holds for a person on a channel; null is left to the platform's defaults."""

    recipient: str

    @classmethod
    def from_wish(cls, wish: Wish) -> Self:
        """Show a wish."""
        return cls(**{name: getattr(wish, name) for name in cls.model_fields})


class PreferencesView(NotificationPreferences):
    """A person's preferences, and what they and the token amount to."""

    effective: dict[str, EffectiveWishes] = Field(
        description="By channel, what holds; a channel is missing where nothing names a recipient"
    )
    defaults: dict[str, ChannelDefaults] = Field(
        default_factory=dict,
        description="By channel over which anything is sent here, what holds where the person and the token leave it "
        "open; empty where no notifier has told so of late",
    )


class MatrixUserRequest(BaseModel):
    """The Matrix user to link."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"user": "@ada:example.org"}]}
    )

    user: Annotated[str, AfterValidator(_matrix_user)]


class MatrixChallenge(BaseModel):
    """What the Matrix user has to say to the bot, to show that it is the caller's."""

    model_config = ConfigDict(frozen=True)

    code: str
    expires_in_seconds: int
    say: str = Field(description="Say this to the bot, in a room that you have invited it to")
    bot: str | None = Field(description="The bot's own Matrix user, whom to invite")


class MatrixLinkView(BaseModel):
    """The Matrix user that is linked to the caller, and the rooms in which it was seen."""

    model_config = ConfigDict(frozen=True)

    user: str | None
    rooms: list[str] = Field(description="Proven to be the caller's")
    linked_at: datetime | None
