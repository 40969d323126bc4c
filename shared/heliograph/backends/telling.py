"""What a backend tells of its job, judged: the same in a worker's child process and in an author's tests."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heliograph.backends.errors import FatalError, UsageError
from heliograph.backends.failures import MOST_TOLD, clean
from heliograph.backends.result import as_json

_LONGEST_STAGE = 100  # characters; a word or two in a table
_LONGEST_MESSAGE = 1_000
MOST_REMEMBERED = 64 * 1024  # bytes as JSON


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of progress; None stands for "as it was"."""

    fraction: float | None = None
    stage: str | None = None
    eta_seconds: float | None = None
    message: str | None = None


def progress_of(
    fraction: object, stage: object, eta: object, message: object
) -> tuple[Progress | None, tuple[str, ...]]:
    """Return what can be told of what a backend said, if anything, and a line for its log on each thing ignored.

    Texts are whole: see ``shortened``.
    """
    ignored: list[str] = []

    def checked(what: str, given: object, most: float) -> float | None:
        number = _number(given)
        if 0 <= number <= most and math.isfinite(number):
            return number
        if given is not None:
            ignored.append(f"heliograph: ignored {what} {clean(repr(given), MOST_TOLD)}")
        return None

    report = Progress(
        fraction=checked("a progress that is not in 0..1:", fraction, 1),
        stage=None if stage is None else clean(str(stage), MOST_TOLD),
        eta_seconds=checked("an eta that is no duration:", eta, math.inf),
        message=None if message is None else clean(str(message), MOST_TOLD),
    )
    return (None if report == Progress() else report), tuple(ignored)


def shortened(stage: str | None, message: str | None) -> tuple[str | None, str | None]:
    """Return the texts of a report as they are kept with a job."""
    return stage and clean(stage, _LONGEST_STAGE), message and clean(message, _LONGEST_MESSAGE)


def remembered_json(values: Mapping[str, Any]) -> str:
    """Return all that a job is to remember as JSON.

    Raises
    ------
    ValueError
        They are no JSON values, or too large.
    """
    try:
        text = as_json(dict(values))
    except FatalError as error:
        raise ValueError(str(error).replace("result", "remembered", 1)) from None
    if len(text.encode()) > MOST_REMEMBERED:
        raise ValueError(f"remembered: takes more than {MOST_REMEMBERED:,} bytes as JSON")
    return text


def submission_json(body: Mapping[str, Any]) -> str:
    """Return what a job submits as JSON.

    Raises
    ------
    UsageError
        It holds what is no JSON value.
    """
    try:
        return as_json(dict(body))
    except FatalError as error:
        raise UsageError(str(error).replace("result", "submission", 1)) from None


def _number(given: object) -> float:
    """Return a fraction or a duration as a number, also where it is of numpy; NaN where it is none."""
    try:
        return given.total_seconds() if isinstance(given, timedelta) else float(given)  # type: ignore[arg-type] # tried
    except (TypeError, ValueError, OverflowError):
        return math.nan
