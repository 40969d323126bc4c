"""What people say to the account, and what it takes that for."""

from datetime import timedelta

import pytest

from heliograph_notifier.channels.matrix.commands import (
    LONGEST,
    Cancel,
    Command,
    Help,
    Here,
    Link,
    Mute,
    Status,
    Unclear,
    Unmute,
    parse,
)

SHORT = "KE8PXN4C"
WHOLE = "01M7WHB0Q3TDZ9S7V2KE8PXN4C"

SAID: list[tuple[str, Command]] = [
    ("help", Help()),
    ("HELP", Help()),
    ("link ABCDE-FGHJK", Link("ABCDE-FGHJK")),
    ("link ABCDE FGHJK", Link("ABCDEFGHJK")),
    ("status", Status()),
    (f"status {SHORT}", Status(SHORT)),
    (f"status {SHORT.lower()}", Status(SHORT)),
    (f"status {WHOLE}", Status(WHOLE)),
    (f"cancel {SHORT}", Cancel(SHORT)),
    ("mute 2h", Mute(None, timedelta(hours=2))),
    ("mute 30m", Mute(None, timedelta(minutes=30))),
    ("mute all 1d", Mute(None, timedelta(days=1))),
    ("mute all", Mute(None, None)),
    (f"mute {SHORT}", Mute(SHORT, None)),
    (f"mute {SHORT} 1w", Mute(SHORT, timedelta(weeks=1))),
    ("mute 99999w", Mute(None, LONGEST)),
    ("unmute", Unmute()),
    ("unmute all", Unmute()),
    (f"unmute {SHORT}", Unmute(SHORT)),
    ("here", Here()),
    ("  Here  ", Here()),
]


@pytest.mark.parametrize(("words", "meant"), SAID)
def test_in_a_room_of_two_plain_words_are_commands(words: str, meant: Command) -> None:
    assert parse(words, is_direct=True) == meant
    assert parse(f"!heliograph {words}", is_direct=True) == meant


@pytest.mark.parametrize(("words", "meant"), SAID)
def test_among_others_it_has_to_be_addressed(words: str, meant: Command) -> None:
    assert parse(words, is_direct=False) is None
    assert parse(f"!heliograph {words}", is_direct=False) == meant
    assert parse(f"!H {words}", is_direct=False) == meant


@pytest.mark.parametrize("words", ["hello", "!help", "!hello status", "heliograph status", "status?", "", "\n", "!"])
def test_what_others_say_to_each_other_is_passed_over(words: str) -> None:
    assert parse(words, is_direct=False) is None


@pytest.mark.parametrize(
    "words",
    [
        "hello", "status 123", "status ../../x", "cancel", f"cancel {SHORT} {WHOLE}", "mute", "mute 2 h", "mute 0h",
        "mute all forever", "mute 2h 3h", "mute 2x", "unmute x", "link", "cancel $where", f"cancel {SHORT}\u0130",
        "status " * 9,
    ],
)  # fmt: skip
def test_what_is_no_command_is_answered_with_a_sentence(words: str) -> None:
    unclear = parse(words, is_direct=True)
    assert isinstance(unclear, Unclear)
    assert unclear.why.endswith((".", "1d", "3F2K9ABC", "FGHJK"))
    assert len(unclear.why) < 150


def test_the_prefix_alone_asks_for_help() -> None:
    assert parse("!heliograph", is_direct=False) == Help()
    assert parse("!h ", is_direct=False) == Help()


def test_what_is_quoted_in_an_answer_is_not_said_again() -> None:
    quoted = f"> <@bot:hs.test> say cancel {WHOLE}\n> or help\n\nstatus {SHORT}\nthank you"
    assert parse(quoted, is_direct=True) == Status(SHORT)
    assert parse("> cancel everything", is_direct=True) is None


def test_long_messages_are_read_no_further_than_a_command_reaches() -> None:
    assert isinstance(parse("cancel " + "A" * 1_000_000, is_direct=True), Unclear)
    assert parse("word " * 100_000, is_direct=False) is None
