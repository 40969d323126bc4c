"""What notices say: made from what they are about, by the reader's clock, and with nothing secret."""

import functools
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from heliograph.jobs.model import Artifact, Change, Job
from heliograph.jobs.states import State
from heliograph.masking import MASK
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import Occasion, Subject, SubjectKind
from heliograph_notifier.describing.bulletin import describe_bulletin
from heliograph_notifier.describing.job import MOST_PICTURE, describe_job
from heliograph_notifier.links import Links
from heliograph_notifier.readable import (
    HIDDEN,
    clean,
    duration,
    gives_access,
    is_secret_name,
    moment,
    one_line,
    size,
    table,
)
from tests.parts.mails import DELIVERY, END, FAILURE, IDENTIFIER, JOB, LINKS, START, TOKEN, URL, failed, mail_of, part

ZURICH = "Europe/Zurich"
SECRET = "correct-horse-battery"
PAGE = f"{URL}/jobs/{IDENTIFIER}"


def test_the_title_says_site_state_product_time_and_short_id() -> None:
    notice = describe_job(replace(JOB, name="sunspots"), DELIVERY, LINKS, "CTA North")
    assert notice.title == "[CTA North] done: sunspots, requested 2026-11-21 12:00 UTC, job KE8PXN4C"


def test_times_are_told_by_the_readers_clock() -> None:
    notice = describe_job(JOB, replace(DELIVERY, time_zone=ZURICH), LINKS)
    assert "requested 2026-11-21 13:00 CET," in notice.title
    assert dict(notice.outline)["Requested"] == "2026-11-21 13:00:00 CET"
    assert dict(notice.outline)["Over"] == "2026-11-21 13:01:30 CET"


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        (None, "2026-11-21 12:00 UTC"), (ZURICH, "2026-11-21 13:00 CET"), ("America/New_York", "2026-11-21 07:00 EST"),
        ("America/Sao_Paulo", "2026-11-21 09:00 UTC-03"), ("Asia/Kathmandu", "2026-11-21 17:45 UTC+0545"),
        ("Mars/Olympus", "2026-11-21 12:00 UTC"), ("../../etc/passwd", "2026-11-21 12:00 UTC"),
    ],
)  # fmt: skip
def test_a_time_names_its_zone(zone: str | None, words: str) -> None:
    assert moment(START, zone) == words


def test_how_long_it_waited_and_ran_is_said() -> None:
    facts = dict(describe_job(JOB, DELIVERY, LINKS).outline)
    assert (facts["Waited"], facts["Ran"]) == ("30.0 s", "1 min")


def test_a_start_after_a_long_wait_says_how_long() -> None:
    started = START + timedelta(minutes=20)
    history = (JOB.history[0], Change("c", 2, 1, started, State.RUNNING, "worker"))
    job = replace(JOB, state=State.RUNNING, history=history, result=None, artifacts=(), started_at=started)
    notice = describe_job(job, replace(DELIVERY, occasion=Occasion.RUNNING, seq=2), LINKS)
    assert notice.summary == "periodogram began 20 min after it was requested."
    assert dict(notice.outline)["Waited"] == "20 min"


@pytest.mark.parametrize(
    ("artifact", "is_shown"),
    [
        (Artifact("a.png", "f", "image/png", MOST_PICTURE, ""), True),
        (Artifact("a.png", "f", "image/png", MOST_PICTURE + 1, ""), False),
        (Artifact("a.svg", "f", "image/svg+xml", 100, ""), False),
    ],
)
def test_only_a_small_png_is_shown(artifact: Artifact, is_shown: bool) -> None:
    assert (describe_job(replace(JOB, artifacts=(artifact,)), DELIVERY, LINKS).picture is not None) is is_shown


def test_what_came_after_the_told_change_stays_out() -> None:
    reopened = replace(JOB, series=2, state=State.QUEUED, seq=4, message="begins again")
    notice = describe_job(reopened, DELIVERY, LINKS)
    assert [section.title for section in notice.sections] == ["What was asked"]
    assert (notice.message, notice.files, notice.picture) == (None, (), None)
    assert notice.summary == "periodogram finished 1 min 30 s after it was requested."


@pytest.mark.parametrize(
    ("occasion", "attempt", "parts"),
    [
        (Occasion.SUBMITTED, 0, [""]), (Occasion.RUNNING, 1, ["", "#log"]), (Occasion.DONE, 1, ["", "#log", "#repeat"]),
        (Occasion.CANCELLED, 0, ["", "#repeat"]),
    ],
)  # fmt: skip
def test_it_leads_to_the_places_of_its_page_that_there_is_something_at(
    occasion: Occasion, attempt: int, parts: list[str]
) -> None:
    notice = describe_job(replace(JOB, attempt=attempt), replace(DELIVERY, occasion=occasion), LINKS)
    assert [link.url for link in notice.links] == [PAGE + each for each in parts]


@pytest.mark.parametrize("parameters", [{"password": MASK}, {"logins": [{"user": "ada", "password": MASK}]}])
def test_what_holds_a_secret_is_not_offered_to_be_repeated(parameters: dict[str, Any]) -> None:
    notice = describe_job(replace(JOB, parameters=parameters), DELIVERY, LINKS)
    assert [link.url for link in notice.links] == [PAGE, f"{PAGE}#log"]


@pytest.mark.parametrize(
    ("handler", "is_led"),
    [
        (None, False), ("https://results.example.org/42?a=1&b=2", True), ("http://results.example.org/42", True),
        (f"https://results.example.org/?token={TOKEN}", False), ("https://ada:secret@results.example.org/", False),
        ("javascript:alert(1)", False), ("https://example.org/\u202egro.live", False),
        (f"https://example.org/{'x' * 2000}", False),
    ],
)  # fmt: skip
def test_a_result_page_is_led_to_where_its_address_is_an_address_and_no_more(handler: str | None, is_led: bool) -> None:
    links = describe_job(replace(JOB, handler=handler), DELIVERY, LINKS).links
    assert (("Open the result", handler) in [(link.label, link.url) for link in links]) is is_led
    assert len(links) == 3 + is_led


def test_the_result_is_offered_first_once_there_is_one() -> None:
    job = replace(JOB, handler="https://results.example.org/42")
    assert describe_job(job, DELIVERY, LINKS).links[0].label == "Open the result"
    assert describe_job(job, FAILURE, LINKS).links[-1].label == "Open the page for its result"


def test_the_reader_may_report_and_mute() -> None:
    job = replace(JOB, group="campaign")
    notice = describe_job(job, DELIVERY, LINKS)
    assert [choice.label for choice in notice.choices] == [
        "Report a problem", "Mute this request", "Mute this group", "Stop all messages",
    ]  # fmt: skip
    assert notice.unsubscribe == notice.choices[-1].url
    assert describe_job(job, DELIVERY, Links(URL, None)).choices == ()


def test_a_link_that_the_api_would_not_read_is_left_out() -> None:
    """The api reads tokens of up to 1024 characters."""
    notice = describe_job(replace(JOB, group="ß" * 200), DELIVERY, LINKS)
    assert [choice.label for choice in notice.choices] == ["Report a problem", "Mute this request", "Stop all messages"]


@pytest.mark.parametrize(
    ("origin", "person", "headline", "why"),
    [
        ("owner", JOB.owner, "Your request is done", "You asked for this work."),
        ("watch", JOB.owner, "Your request is done", "You asked for this work."),
        ("watch", "grace", "A request of ada@example.org is done", "You watch its group or its queue."),
        ("submission", None, "A request of ada@example.org is done", "The submission named you."),
        ("contact", None, "A request of ada@example.org is done",
         "The submission named its contacts, and the contact directory names you."),
        ("operator", None, "A request of ada@example.org is done", "This is a copy for operators."),
    ],
)  # fmt: skip
def test_it_says_whose_request_it_is_and_why_its_reader_hears_of_it(
    origin: str, person: str | None, headline: str, why: str
) -> None:
    delivery = replace(DELIVERY, origin=origin, person=person)
    notice = describe_job(JOB, delivery, LINKS)
    assert (notice.headline, notice.why) == (headline, why)
    assert dict(notice.outline)["Requested by"] == "ada@example.org"
    for kind in ("plain", "html"):
        assert f"This message is from Heliograph. {why}" in " ".join(part(mail_of(notice, delivery), kind).split())


@pytest.mark.parametrize(("was_asked", "name"), [(True, "grace@example.org"), (False, None)])
def test_a_cancelled_one_says_who_asked_for_that(name: str | None, *, was_asked: bool) -> None:
    history = (JOB.history[0], Change("b", 3, 1, END, State.CANCELLED, "grace@example.org" if was_asked else "service"))
    job = replace(JOB, state=State.CANCELLED, history=history, cancel_requested=was_asked)
    notice = describe_job(job, replace(DELIVERY, occasion=Occasion.CANCELLED), LINKS)
    assert dict(notice.outline).get("Cancelled by") == name


BULLETIN = Bulletin(
    IDENTIFIER, SubjectKind.INCIDENT, "ada@example.org", END, "The axis\r\nis wrong", title="wrong axis",
    job=IDENTIFIER, occurred_at=START,
)  # fmt: skip


def test_a_report_says_who_found_what_and_where() -> None:
    delivery = replace(DELIVERY, subject=BULLETIN.subject, occasion=Occasion.INCIDENT, time_zone=ZURICH)
    notice = describe_bulletin(BULLETIN, delivery, LINKS, "CTA North")
    assert notice.title == "[CTA North] incident: wrong axis, 2026-11-21 13:01 CET, KE8PXN4C"
    assert (notice.headline, notice.summary) == ("Wrong axis", "ada@example.org reports a problem.")
    assert notice.message == "The axis\nis wrong"
    assert dict(notice.outline) == {
        "By": "ada@example.org", "At": "2026-11-21 13:01:30 CET", "Occurred": "2026-11-21 13:00:00 CET",
        "Job": IDENTIFIER,
    }  # fmt: skip
    assert [link.url for link in notice.links] == [PAGE, f"{PAGE}#log"]
    assert notice.command == f"heliograph show {IDENTIFIER} --url {URL}"


def test_a_test_says_that_it_is_one() -> None:
    bulletin = Bulletin(IDENTIFIER, SubjectKind.TEST, "ada@example.org", END)
    delivery = replace(DELIVERY, subject=Subject(SubjectKind.TEST, IDENTIFIER), occasion=Occasion.TEST)
    notice = describe_bulletin(bulletin, delivery, LINKS, "CTA North")
    assert notice.title.startswith("[CTA North] test: a test of notices, ")
    assert notice.headline == "Notices of CTA North arrive here"
    assert (notice.links, notice.unsubscribe) == ((), None)


@pytest.mark.parametrize(
    "parameters",
    [
        {"token": SECRET}, {"query": TOKEN}, {"Authorization": f"Bearer {SECRET}"}, {"nested": {"api_key": SECRET}},
        {"url": f"https://x.org/?a=1&token={SECRET}"}, {"list": [{"password": SECRET}]}, {TOKEN: 1},
        {"a": {TOKEN: [1]}}, {"url": f"https://u:{SECRET}@x.org/"}, {"text": '{"password": "' + SECRET + '"}'},
    ],
)  # fmt: skip
def test_nothing_that_gives_access_is_said(parameters: dict[str, object]) -> None:
    told = replace(JOB, parameters=parameters, result=parameters, name=TOKEN, group=TOKEN, message=TOKEN)
    for job, delivery in (
        (told, DELIVERY),
        (replace(failed(f"refused: {parameters} token={TOKEN}"), parameters=parameters), FAILURE),
    ):
        said = str(replace(describe_job(_with_lists(job), delivery, LINKS, TOKEN), choices=(), unsubscribe=None))
        assert TOKEN not in said
        assert SECRET not in said
        assert HIDDEN in said


def _with_lists(job: Job) -> Job:
    return replace(job, parameters=job.parameters | {"more": [job.parameters, [job.parameters]]})


def test_what_gives_access_is_hidden_in_words() -> None:
    assert clean("Authorization: Bearer abcdefghijk") == f"Authorization: Bearer {HIDDEN}"
    assert clean("amqp://guest:secretword@host/") == f"amqp://{HIDDEN}@host/"
    assert clean("{'api_key': 'abc', \"b\": \"c\"}") == f"{{'api_key': '{HIDDEN}', \"b\": \"c\"}}"
    assert clean("the token expired") == "the token expired"
    assert clean('the word "token": what it means') == 'the word "token": what it means'


def test_what_gives_access_is_known() -> None:
    for text in (TOKEN, "a=1&secret=2", "amqp://guest:secretword@host/", '"password" : "x"'):
        assert gives_access(text), text
    for text in ("the token expired", "https://example.org/?a=1", '"name": "token"'):
        assert not gives_access(text), text


@pytest.mark.parametrize(
    "piece", ["'a'", '"a":', "'", "eyJ", "token", "a.", "://a:", "x=", "-eyJ", "bearer ", " ", "eyJaaaaaaaa.aaaaaaaa."]
)
def test_no_text_takes_long_to_clean(piece: str) -> None:
    started = time.perf_counter()
    one_line(piece * 2_000_000)
    clean(piece * 2_000_000)
    assert time.perf_counter() - started < 1  # 0.1 s on a quiet machine


def test_a_long_text_is_not_cut_inside_a_secret() -> None:
    words = "x " * 9_990 + TOKEN
    assert TOKEN[:12] not in clean(words)
    assert TOKEN[:12] not in one_line(" " * 3_980 + TOKEN)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"), (3.24, "3.2 s"), (59.94, "59.9 s"), (59.96, "1 min"), (90, "1 min 30 s"), (3600, "1 h"),
        (7500, "2 h 5 min"), (100_000, "1 d 3 h"), (-5, "0.0 s"),
    ],
)  # fmt: skip
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_600, "1.0 MB"), (20_000_000, "20 MB")],
)
def test_sizes_are_readable(count: int, words: str) -> None:
    assert size(count) == words


def test_tables_are_readable() -> None:
    value = {"a_b": 1.0, "c": True, "d": [1, 2.5, "x"], "e": None, "f": {"g": 1}, "h": ""}
    assert table(value) == (
        ("a b", "1"), ("c", "yes"), ("d", "1, 2.5, x"), ("f", '{"g":1}'), ("h", "(empty)"),
    )  # fmt: skip
    assert table(None) == ()
    assert table(3) == (("", "3"),)
    assert table({str(n): n for n in range(100)})[-1] == ("…", "and 60 more")
    assert one_line("x" * 500, 20) == "x" * 19 + "…"


DEEP: list[Any] = functools.reduce(lambda inner, _: [inner, "c" * 80_000], range(100), [])


@pytest.mark.parametrize(
    "value",
    [
        {"spectrum": [{"x": "a" * 1_000} for _ in range(8_000)]},
        {"lines": ["b c " * 2_000_000, "more"]},
        {"names": {f"{number} {'n' * 1_000}": number for number in range(8_000)}},
        {"numbers": [[float(number)] for number in range(400_000)]},
        {"text": "word " * 1_600_000},
        {"deep": DEEP},
    ],
    ids=["objects", "texts", "names", "numbers", "text", "deep"],
)
def test_of_a_huge_result_the_beginning_alone_is_looked_at(value: dict[str, Any]) -> None:
    began = time.perf_counter()
    ((_, shown),) = table(value)
    assert time.perf_counter() - began < 0.05
    assert len(shown) > 100
    assert shown.endswith("…")


def test_the_beginning_of_a_huge_result_holds_no_secret() -> None:
    token = f"eyJ{'a' * 100}.{'b' * 100}.{'c' * 100}"
    ((_, shown),) = table({"answers": [{"token": "0123", "at": "x", f"sent {token}": token}] + [{"more": "d"}] * 9_000})
    assert "eyJ" not in shown
    assert "0123" not in shown


@pytest.mark.parametrize(
    "name",
    ["pwd", "db_pwd", "access_key", "AccessKey", "ssh-key", "ssh key", "auth", "basic_auth", "basicAuth", "authKey",
     "AUTH", "http.auth.user", "oauth", "OAuth", "bearer"],
)  # fmt: skip
def test_what_reads_like_a_secrets_name_is_one(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["author", "AUTHOR", "coAuthor", "authors", "authentic", "access", "keyword", "forward"]
)
def test_what_only_begins_like_a_secrets_name_is_none(name: str) -> None:
    assert not is_secret_name(name)
