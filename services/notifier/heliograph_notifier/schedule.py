"""When a notice goes out: at once, or after the reader's quiet hours and on their working days."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from heliograph.notices.preferences import QuietHours

_MOST_STEPS = 20  # a week of days without work, each with quiet hours


def next_moment(
    clock: datetime, time_zone: str | None, quiet_hours: QuietHours | None, working_days: Collection[int] | None
) -> datetime:
    """Return the first moment from ``clock`` on at which the reader may be told, by their own clock (else UTC).

    Nobody is made to wait for ever: where no day is a working day, every day is.
    """
    if quiet_hours is None and not working_days:
        return clock
    zone, moment = _zone(time_zone), clock
    for _ in range(_MOST_STEPS):
        local = moment.astimezone(zone)
        if working_days and local.weekday() not in working_days:
            tomorrow = (local + timedelta(days=1)).date()
            moment = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)
        elif quiet_hours is not None and (until := _end_of_quiet(local, quiet_hours)):
            moment = until.astimezone(UTC)
        else:
            break
    return moment


def _end_of_quiet(local: datetime, quiet: QuietHours) -> datetime | None:
    """Return when the quiet that a local time lies in ends; None where it lies in none."""
    now, passes_midnight = local.time(), quiet.begin > quiet.end
    is_quiet = (now >= quiet.begin or now < quiet.end) if passes_midnight else quiet.begin <= now < quiet.end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=1) if passes_midnight and now >= quiet.begin else local.date()
    end = datetime.combine(day, quiet.end, local.tzinfo)
    # Clocks that are set back show an hour twice: in its second showing, the first end is over already.
    return end if end.astimezone(UTC) > local.astimezone(UTC) else end.replace(fold=1)


def _zone(name: str | None) -> tzinfo:
    """Return a time zone; UTC for one that this host does not know, since a notice late by hours beats none."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
