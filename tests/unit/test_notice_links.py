"""The links of notices do what they were signed for, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from heliograph.notices.links import (
    REPORT_LASTS,
    SILENCE_LASTS,
    Silence,
    read_report,
    read_silence,
    report_token,
    silence_token,
)
from heliograph.notices.mutes import MuteScope
from heliograph.signed_links import LinkRefusedError, sign

KEYS = ["3f1d9c0b7a5e48261122334455667788"]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JOB = "01ABCDEFGHJKMNPQRSTVWXYZ00"
ALL = Silence("email", "ada@example.org", MuteScope.ALL)


@pytest.mark.parametrize(
    "silence",
    [
        ALL,
        Silence("matrix", "!room:example.org", MuteScope.JOB, JOB),
        Silence("email", "ada@example.org", MuteScope.GROUP, "night 7 | of 9", "o'hara"),
        Silence("email", "adé@exämple.org", MuteScope.GROUP, "Nächte", "ada"),
    ],
)
def test_a_silence_comes_back_as_it_was_signed(silence: Silence) -> None:
    assert read_silence(KEYS, silence_token(KEYS, silence, NOW), NOW) == silence


def test_a_report_comes_back_as_it_was_signed() -> None:
    assert read_report(KEYS, report_token(KEYS, JOB, "ada@example.org", NOW), NOW) == (JOB, "ada@example.org")


def test_neither_passes_for_the_other() -> None:
    with pytest.raises(LinkRefusedError):
        read_report(KEYS, silence_token(KEYS, ALL, NOW), NOW)
    with pytest.raises(LinkRefusedError):
        read_silence(KEYS, report_token(KEYS, JOB, "ada@example.org", NOW), NOW)


def test_each_lasts_as_long_as_it_says() -> None:
    silence, report = silence_token(KEYS, ALL, NOW), report_token(KEYS, JOB, "ada@example.org", NOW)
    second = timedelta(seconds=1)
    read_silence(KEYS, silence, NOW + SILENCE_LASTS - second)
    read_report(KEYS, report, NOW + REPORT_LASTS - second)
    with pytest.raises(LinkRefusedError):
        read_silence(KEYS, silence, NOW + SILENCE_LASTS + second)
    with pytest.raises(LinkRefusedError):
        read_report(KEYS, report, NOW + REPORT_LASTS + second)


@pytest.mark.parametrize(
    "words", [(), ("email", "ada@example.org", "all", ""), ("email", "ada@example.org", "everything", "", "")]
)
def test_what_was_signed_by_another_version_is_refused_not_guessed_at(words: tuple[str, ...]) -> None:
    with pytest.raises(LinkRefusedError):
        read_silence(KEYS, sign(KEYS, "silence", words, NOW + SILENCE_LASTS), NOW)
    with pytest.raises(LinkRefusedError):
        read_report(KEYS, sign(KEYS, "report", words, NOW + REPORT_LASTS), NOW)
