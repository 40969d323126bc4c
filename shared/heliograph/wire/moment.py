"""A point in time, as a client writes it: RFC 3339 with its distance from UTC."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator


def _text(value: object) -> object:
    if isinstance(value, str) and value.strip("+-.0123456789"):
        return value
    raise ValueError("a time is a text such as 2030-01-31T12:00:00Z")


def _in_utc(value: datetime) -> datetime:
    # The calendar's ends overflow when they are moved to UTC, here or in whoever reads the answer.
    if not 1 < value.year < 9999:
        raise ValueError("a time lies outside of the years 2 to 9998")
    return value.astimezone(UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_in_utc)]
