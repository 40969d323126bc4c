"""When a notice goes out, by the reader's own clock: quiet hours, days off, and clocks that are changed."""

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heliograph.notices.preferences import QuietHours
from heliograph_notifier.schedule import next_moment

ZURICH, NEW_YORK = "Europe/Zurich", "America/New_York"
NIGHT = QuietHours(time(22), time(7))
LUNCH = QuietHours(time(12), time(13, 30))
WEEKDAYS = frozenset(range(5))


def local(text: str, zone: str, fold: int = 0) -> datetime:
    """The moment of a local time, such as "2026-11-21 23:30"."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        (NIGHT, "2026-11-17 21:59", "2026-11-17 21:59"),
        (NIGHT, "2026-11-17 22:00", "2026-11-18 07:00"),
        (NIGHT, "2026-11-17 23:59", "2026-11-18 07:00"),
        (NIGHT, "2026-11-18 00:00", "2026-11-18 07:00"),
        (NIGHT, "2026-11-18 06:59", "2026-11-18 07:00"),
        (NIGHT, "2026-11-18 07:00", "2026-11-18 07:00"),
        (NIGHT, "2026-12-31 23:00", "2027-01-01 07:00"),
        (LUNCH, "2026-11-18 11:59", "2026-11-18 11:59"),
        (LUNCH, "2026-11-18 12:00", "2026-11-18 13:30"),
        (LUNCH, "2026-11-18 13:30", "2026-11-18 13:30"),
        (QuietHours(time(8), time(8)), "2026-11-18 08:00", "2026-11-18 08:00"),  # none at all
        (QuietHours(time(18), time(0)), "2026-11-18 19:00", "2026-11-19 00:00"),
        (QuietHours(time(0), time(6)), "2026-11-18 00:00", "2026-11-18 06:00"),
    ],
)
@pytest.mark.parametrize("zone", [ZURICH, NEW_YORK, "Asia/Kathmandu"])
def test_quiet_hours_end_where_they_end(quiet: QuietHours, at: str, until: str, zone: str) -> None:
    assert next_moment(local(at, zone), zone, quiet, None) == local(until, zone)


@pytest.mark.parametrize(
    ("days", "quiet", "at", "until"),
    [
        (WEEKDAYS, None, "2026-11-20 23:59", "2026-11-20 23:59"),  # a Friday
        (WEEKDAYS, None, "2026-11-21 00:00", "2026-11-23 00:00"),
        (WEEKDAYS, None, "2026-11-22 12:00", "2026-11-23 00:00"),
        (WEEKDAYS, NIGHT, "2026-11-20 22:00", "2026-11-23 07:00"),
        (WEEKDAYS, NIGHT, "2026-11-21 12:00", "2026-11-23 07:00"),
        (WEEKDAYS, NIGHT, "2026-11-19 22:00", "2026-11-20 07:00"),
        (frozenset({6}), NIGHT, "2026-11-15 22:00", "2026-11-22 07:00"),  # Sundays alone
        (frozenset({6}), LUNCH, "2026-11-16 12:00", "2026-11-22 00:00"),
        (frozenset(), None, "2026-11-21 12:00", "2026-11-21 12:00"),  # no working day: every day is one
        (frozenset(), NIGHT, "2026-11-21 23:00", "2026-11-22 07:00"),
        (frozenset(range(7)), None, "2026-11-21 12:00", "2026-11-21 12:00"),
    ],
)
def test_on_days_off_a_notice_waits_for_the_next_working_day(
    days: frozenset[int], quiet: QuietHours | None, at: str, until: str
) -> None:
    assert next_moment(local(at, ZURICH), ZURICH, quiet, days) == local(until, ZURICH)


# Zurich: 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00. New York: 2026-03-08 and 2026-11-01, at 02:00.
EARLY = QuietHours(time(1), time(2, 30))


@pytest.mark.parametrize(
    ("zone", "quiet", "at", "hours"),
    [
        (ZURICH, NIGHT, local("2026-03-28 22:00", ZURICH), 8),
        (ZURICH, NIGHT, local("2026-10-24 22:00", ZURICH), 10),
        (NEW_YORK, NIGHT, local("2026-03-07 22:00", NEW_YORK), 8),
        (NEW_YORK, NIGHT, local("2026-10-31 22:00", NEW_YORK), 10),
        (ZURICH, EARLY, local("2026-03-29 01:30", ZURICH), 1),  # 02:30 is not there that day: it is 03:30 by then
        (ZURICH, EARLY, local("2026-10-25 01:30", ZURICH), 1),  # the first 02:30 of two
        (ZURICH, EARLY, local("2026-10-25 02:10", ZURICH, fold=1), 1 / 3),  # the second, since the first is over
        (ZURICH, EARLY, local("2026-10-25 02:40", ZURICH), 0),
        (NEW_YORK, QuietHours(time(0), time(1, 30)), local("2026-11-01 01:10", NEW_YORK, fold=1), 1 / 3),
    ],
)
def test_clocks_that_are_changed_neither_shorten_quiet_nor_send_into_the_past(
    zone: str, quiet: QuietHours, at: datetime, hours: float
) -> None:
    assert next_moment(at, zone, quiet, None) - at == timedelta(hours=hours)


def test_midnight_that_is_left_out_begins_the_day_at_one() -> None:
    """In Cairo clocks go from 24:00 on a Thursday to 01:00 on the Friday."""
    friday = frozenset({4})
    assert next_moment(local("2026-04-23 12:00", "Africa/Cairo"), "Africa/Cairo", None, friday) == local(
        "2026-04-24 01:00", "Africa/Cairo"
    )


@pytest.mark.parametrize("zone", [None, "", "Europe/Gotham", "../../etc/passwd"])
def test_without_a_known_time_zone_the_clock_is_utc(zone: str | None) -> None:
    at = datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert next_moment(at, zone, NIGHT, None) == datetime(2026, 11, 22, 7, tzinfo=UTC)


def test_who_states_nothing_is_told_at_once() -> None:
    at = datetime(2026, 11, 21, 3, 14, 15, 926535, tzinfo=UTC)
    assert next_moment(at, ZURICH, None, None) == at


def is_quiet(moment: datetime, zone: tzinfo, quiet: QuietHours | None, days: frozenset[int]) -> bool:
    now = moment.astimezone(zone)
    if days and now.weekday() not in days:
        return True
    if quiet is None:
        return False
    if quiet.begin <= quiet.end:
        return quiet.begin <= now.time() < quiet.end
    return not quiet.end <= now.time() < quiet.begin


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: time(*divmod(minute, 60)))


@settings(max_examples=300)
@given(
    st.integers(0, 730 * 24 * 60).map(lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)),
    st.sampled_from([ZURICH, NEW_YORK, "Asia/Kathmandu", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe"]),
    st.none() | st.builds(QuietHours, MINUTES, MINUTES),
    st.sets(st.integers(0, 6)).map(frozenset),
)
@example(local("2026-10-25 02:10", ZURICH, fold=1), ZURICH, EARLY, frozenset())
def test_nothing_is_sent_in_quiet_time_nor_before_its_time_nor_late(
    clock: datetime, zone: str, quiet: QuietHours | None, days: frozenset[int]
) -> None:
    moment, place = next_moment(clock, zone, quiet, days), ZoneInfo(zone)
    assert moment >= clock
    assert not is_quiet(moment, place, quiet, days)
    if moment > clock:
        assert is_quiet(clock, place, quiet, days)
        assert moment - clock <= timedelta(days=8)
        assert is_quiet(moment - timedelta(minutes=1), place, quiet, days) or moment - clock < timedelta(minutes=1)
