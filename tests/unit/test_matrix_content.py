"""What a room is shown: harmless whatever it says, complete as far as an event reaches, readable without markup."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from heliograph.channels import File, Link, Notice, Section
from heliograph.jobs.states import State
from heliograph.notices.model import Occasion, Subject
from heliograph_notifier.channels.matrix.content import (
    MOST_BYTES,
    Text,
    answer,
    edit,
    in_thread,
    message,
    transaction,
    weight,
)
from heliograph_notifier.channels.matrix.layout import card_text, notice_text, reply_text
from heliograph_notifier.channels.matrix.standing import (
    GroupReading,
    Reading,
    bar,
    begun,
    standing,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTICE = Notice(
    subject=Subject.of_job("01M7WHB0Q3TDZ9S7V2KE8PXN4C"), occasion=Occasion.DONE, state="done", short_id="KE8PXN4C",
    product="sunspots", title="[Heliograph] done: sunspots", headline="Your request is done",
    summary="sunspots finished 4 min after it was requested.", thread="job.x",
    outline=(("Job", "01M7"), ("Ran", "1 min")), message="11 peaks",
    sections=(Section("Result", (("period", "11.0"),)),), files=(File("plot.png", "12 kB"),),
    links=(Link("Open the result", "https://example.org/jobs/1"),),
    choices=(Link("Stop all messages", "https://x.org/u"),),
    command="heliograph download 01M7",
)  # fmt: skip
RUNNING = Reading(
    "01M7", State.RUNNING, 1, 2, 1, NOW, "fitting", 0.62, 41.7, "pass 3 of 5", started_at=NOW - timedelta(seconds=9)
)
# What org.matrix.custom.html allows (Matrix specification v1.16, m.room.message), as far as it is used here.
TAGS = {"p", "br", "strong", "code", "pre", "a", "table", "tbody", "tr", "td"}
HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</td></table><h1>owned</h1>",
    "@room everybody wake up",
    "<a href='https://matrix.to/#/@ada:hs.test'>Ada</a>",
    "https://matrix.to/#/@ada:hs.test",
    "**bold** [click](https://evil.example) `code`",
    "&lt;b&gt; &amp;",
    '" onmouseover="x',
    "<mx-reply><blockquote>said</blockquote></mx-reply>",
]


class _Markup(HTMLParser):
    """The tags, the attributes, and the text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(html: str) -> _Markup:
    """Check that markup is of the allowed subset, and whole."""
    markup = _Markup(html)
    assert markup.tags <= TAGS
    assert {name for name, _ in markup.attributes} <= {"href"}
    assert all(value and value.startswith(("https://", "http://")) for _, value in markup.attributes)
    assert markup.open == []
    return markup


def test_a_notice_says_all_in_plain_words_and_in_markup() -> None:
    text = notice_text(NOTICE)
    for words in (
        "Your request is done",
        "sunspots finished",
        "11 peaks",
        "plot.png",
        "12 kB",
        "Result",
        "11.0",
        "01M7",
    ):
        assert words in text.plain
        assert words in harmless(text.html).text
    assert "Result\nperiod: 11.0" in text.plain
    assert "Open the result: https://example.org/jobs/1" in text.plain
    assert '<a href="https://example.org/jobs/1">Open the result</a>' in text.html
    assert "<" not in text.plain


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_words(words: str) -> None:
    notice = replace(
        NOTICE, product=words, headline=words, summary=words, message=words, error=words, outline=((words, words),),
        sections=(Section(words, ((words, words),)),), files=(File(words, "1 byte"),), command=words,
    )  # fmt: skip
    for text in (notice_text(notice), card_text(notice), begun(words, "queued")):
        markup = harmless(text.html)
        assert words in markup.text
        assert words in text.plain
    reading = replace(RUNNING, stage=words, message=words)
    for with_details in (True, False):
        harmless(standing(reading, words, with_details=with_details).html)


def test_nobody_is_pinged() -> None:
    text = Text.of("@room and @ada:hs.test")
    assert message(text)["m.mentions"] == {}
    assert edit("$root", text)["m.mentions"] == {}
    assert edit("$root", text)["m.new_content"]["m.mentions"] == {}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "mxc://hs.test/x", ""])
def test_a_link_leads_to_the_web_or_nowhere(url: str) -> None:
    text = notice_text(replace(NOTICE, links=(Link("Open", url),), choices=()))
    assert "href" not in text.html
    assert f"Open: {url}" in text.plain


def test_why_somebody_is_told_stands_with_what_they_may_do_about_it() -> None:
    notice = replace(NOTICE, why="You watch its group or its queue.")
    assert "You watch its group or its queue." in notice_text(notice).plain
    assert "You watch its group or its queue." in card_text(notice).plain
    assert "You watch" not in reply_text(notice).plain


def test_line_breaks_of_a_message_are_kept_and_make_nothing_else() -> None:
    text = notice_text(replace(NOTICE, message="one\n> two\n# three"))
    assert "one<br>&gt; two<br># three" in text.html
    assert "one\n> two\n# three" in text.plain


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f52d", '"', "<", "\\"])
def test_a_notice_of_any_length_fits_into_an_event(letter: str) -> None:
    long = letter * 20_000
    rows = tuple((f"{number}", long[:160]) for number in range(40))
    notice = replace(
        NOTICE, product=long[:60], headline=long, summary=long, message=long, error=long, command=long,
        outline=rows, sections=tuple(Section(long, rows) for _ in range(5)),
        files=tuple(File(long[:80], "1 byte") for _ in range(3_000)),
    )  # fmt: skip
    whole = message(notice_text(notice))
    assert weight(in_thread(whole, "$" + "r" * 254)) <= MOST_BYTES + 1_000
    assert weight(whole) > 300
    words = standing(replace(RUNNING, stage=long, message=long), long[:60], with_details=True)
    edited = edit("$" + "r" * 254, Text.blocks([words, card_text(notice)]))
    assert weight(edited) <= MOST_BYTES
    harmless(edited["formatted_body"])


def test_more_than_is_shown_is_counted() -> None:
    files = tuple(File(f"{number}.fits", "1 MB") for number in range(100))
    assert "and 70 more" in notice_text(replace(NOTICE, files=files)).plain


def test_an_edit_replaces_the_whole_message() -> None:
    content = edit("$root", Text.bold("done"))
    assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$root"}
    assert content["m.new_content"]["body"] == "done"
    assert content["m.new_content"]["formatted_body"] == "<strong>done</strong>"
    assert content["body"] == "* done"
    assert "m.relates_to" not in content["m.new_content"]


def test_what_the_reader_may_do_stands_in_the_first_message_alone() -> None:
    assert "Stop all messages" in notice_text(NOTICE).plain
    assert "Stop all messages" in card_text(NOTICE).plain
    assert "Stop all messages" not in reply_text(NOTICE).plain
    assert "Open the result" in reply_text(NOTICE).plain


def test_a_threaded_notice_is_an_answer_to_clients_without_threads() -> None:
    relation = in_thread(message(Text.of("done")), "$root")["m.relates_to"]
    assert relation == {
        "rel_type": "m.thread", "event_id": "$root", "is_falling_back": True, "m.in_reply_to": {"event_id": "$root"},
    }  # fmt: skip


def test_an_answer_stays_in_the_thread_of_its_question() -> None:
    content = message(Text.of("yes"))
    assert answer(content, "$asked", None)["m.relates_to"] == {"m.in_reply_to": {"event_id": "$asked"}}
    assert answer(content, "$asked", "$root")["m.relates_to"] == {
        "rel_type": "m.thread", "event_id": "$root", "is_falling_back": False, "m.in_reply_to": {"event_id": "$asked"},
    }  # fmt: skip


def test_a_transaction_id_depends_on_every_word_alone() -> None:
    assert transaction("edit", "x", 1) == transaction("edit", "x", 1)
    assert transaction("edit", "x", 1) != transaction("edit", "x", 2)
    assert re.fullmatch("[0-9a-f]{40}", transaction("x"))


def test_work_in_progress_shows_stage_share_and_time_left() -> None:
    plain = standing(RUNNING, "sunspots", with_details=True).plain
    assert plain == "sunspots: running, fitting\n▓▓▓▓▓▓░░░░ 62 %, about 42 s left\npass 3 of 5"


def test_without_details_nothing_is_said_that_the_backend_said() -> None:
    plain = standing(RUNNING, "sunspots", with_details=False).plain
    assert plain == "sunspots: running\n▓▓▓▓▓▓░░░░ 62 %, about 42 s left"
    failed = replace(RUNNING, state=State.FAILED, error="no such star: HD 1")
    assert "HD 1" not in standing(failed, "sunspots", with_details=False).plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": State.QUEUED, "attempt": 0, "message": None}, "sunspots: queued"),
        ({"state": State.QUEUED, "message": None}, "sunspots: queued for another attempt"),
        ({"state": State.CLAIMED, "message": None}, "sunspots: about to begin"),
        ({"is_stopping": True, "progress": None, "message": None}, "sunspots: stopping, fitting"),
        ({"state": State.DONE, "ended_at": NOW + timedelta(seconds=241)}, "sunspots: done in 4 min 10 s"),
        ({"state": State.DONE, "started_at": None, "ended_at": NOW}, "sunspots: done"),
        ({"state": State.FAILED, "ended_at": NOW, "error": "no\nspace"}, "sunspots: failed after 9.0 s\nno space"),
        ({"state": State.CANCELLED, "ended_at": NOW, "started_at": None}, "sunspots: cancelled"),
    ],
)  # fmt: skip
def test_each_state_in_its_words(changes: dict[str, Any], words: str) -> None:
    reading = replace(RUNNING, **changes)
    assert standing(reading, "sunspots", with_details=True).plain == words
    assert reading.is_over is (reading.state in {State.DONE, State.FAILED, State.CANCELLED})


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "░░░░░░░░░░ 0 %"), (-3, "░░░░░░░░░░ 0 %"), (0.999, "▓▓▓▓▓▓▓▓▓░ 99 %"), (7, "▓▓▓▓▓▓▓▓▓▓ 100 %")],
)
def test_a_bar_is_full_only_at_the_end(share: float, shown: str) -> None:
    assert bar(share) == shown


def test_a_group_is_shown_by_its_counts() -> None:
    counts = {State.DONE: 487, State.FAILED: 13, State.RUNNING: 20, State.QUEUED: 480}
    at_work = GroupReading(counts)
    words = "survey: at work\n487 ok, 13 failed of 1000\n▓▓▓▓▓░░░░░ 50 %"
    assert standing(at_work, "survey", with_details=True).plain == words
    over = GroupReading({State.DONE: 987, State.FAILED: 13}, is_over=True, took=timedelta(hours=3))
    assert standing(over, "survey", with_details=True).plain == "survey: over in 3 h\n987 ok, 13 failed of 1000"
