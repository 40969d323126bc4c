"""What a notice says, and how a mail of it is built: nothing secret, nothing that breaks out of its place."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from heliograph.jobs.model import Artifact, Change, Job, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.message import AddressError, Composer, mailbox
from heliograph_notifier.notice import MOST_PICTURE, describe
from heliograph_notifier.readable import HIDDEN, clean, duration, one_line, size, table

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = START + timedelta(seconds=90)
IDENTIFIER = "01M7WHB0Q3TDZ9S7V2KE8PXN4C"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(300)
JOB = Job(
    id=IDENTIFIER, queue="periodogram", backend="periodogram", owner="ada@example.org", state=State.DONE, series=1,
    seq=3, attempt=1, max_attempts=3, priority=0, parameters={"period": 11}, result={"peak": 11.0}, created_at=START,
    updated_at=END, started_at=START + timedelta(seconds=30), ended_at=END,
    history=(Change("a", 1, 1, START, State.QUEUED, "ada"), Change("b", 3, 1, END, State.DONE, "worker")),
    artifacts=(Artifact("my plot.png", "file-1", "image/png", len(PICTURE), ""),),
)  # fmt: skip
DELIVERY = Delivery(
    id="d", job=IDENTIFIER, occasion=Occasion.DONE, series=1, seq=3, channel="email", recipient="ada@example.org",
    status=DeliveryStatus.SENDING, reason="", created_at=END, due_at=END,
)  # fmt: skip
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9m"


def mail(job: Job = JOB, delivery: Delivery = DELIVERY, picture: bytes | None = None) -> EmailMessage:
    """The mail as its reader gets it: through bytes."""
    notice = describe(job, delivery, "https://heliograph.example.org/")
    made = Composer("Heliograph <heliograph@example.org>", "help@example.org").compose(notice, delivery, picture)
    return message_from_bytes(made, policy=policy.default)


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def failed(message: str) -> Job:
    history = (*JOB.history[:1], Change("b", 3, 1, END, State.FAILED, "worker"))
    return replace(JOB, state=State.FAILED, error=JobError(ErrorKind.FATAL, message), history=history, result=None)


FAILURE = replace(DELIVERY, occasion=Occasion.FAILED)


def test_the_subject_says_state_product_time_and_short_id() -> None:
    assert mail()["Subject"] == "[Heliograph] done: periodogram, requested 2026-11-21 12:00 UTC, job KE8PXN4C"


def test_a_subject_beyond_ascii_arrives_as_it_was() -> None:
    assert mail(replace(JOB, name="Röntgen " * 7))["Subject"].startswith("[Heliograph] done: Röntgen Röntgen")


def test_the_headers_thread_and_identify_it() -> None:
    message, again = mail(), mail()
    submitted = mail(delivery=replace(DELIVERY, occasion=Occasion.SUBMITTED, seq=1))
    assert message["Message-ID"] == again["Message-ID"] != submitted["Message-ID"]
    assert message["References"] == message["In-Reply-To"] == submitted["References"]
    assert message["From"] == "Heliograph <heliograph@example.org>"
    assert message["Reply-To"] == "help@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["Date"].datetime == END


def test_both_parts_say_what_became_of_it_what_was_asked_and_where_to_look() -> None:
    message = mail(replace(JOB, message="The strongest period is 11.00 years."))
    for kind in ("plain", "html"):
        text = part(message, kind)
        for words in (
            "Your request is done", "periodogram finished 1 min 30 s after it was requested.", "11.00 years",
            "period", "peak", "help@example.org", "my plot.png", "30.0 s", "1 min",
            f"heliograph download {IDENTIFIER} --url https://heliograph.example.org",
        ):  # fmt: skip
            assert words in text, (kind, words)


def test_a_plot_stands_inside_the_html() -> None:
    message = mail(picture=PICTURE)
    (image,) = [each for each in message.walk() if each.get_content_type() == "image/png"]
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in part(message, "html")
    assert image.get_content() == PICTURE
    assert image.get_content_disposition() == "inline"


@pytest.mark.parametrize(
    ("artifact", "is_shown"),
    [
        (Artifact("a.png", "f", "image/png", MOST_PICTURE, ""), True),
        (Artifact("a.png", "f", "image/png", MOST_PICTURE + 1, ""), False),
        (Artifact("a.svg", "f", "image/svg+xml", 100, ""), False),
    ],
)
def test_only_a_small_png_is_shown(artifact: Artifact, is_shown: bool) -> None:
    assert (describe(replace(JOB, artifacts=(artifact,)), DELIVERY, "").picture is not None) is is_shown


def test_what_a_job_says_is_text_and_not_html() -> None:
    evil = '<script>alert("x")</script>'
    job = replace(failed(evil), name=evil, parameters={evil: evil}, result={evil: [evil]}, message=evil)
    html = part(mail(job, FAILURE), "html")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 4


@pytest.mark.parametrize(
    "name", ["x\r\nBcc: all@example.org", "x\nBcc: all@example.org\n\nbody", "x\x00\x1b[31m\u202e"]
)
def test_a_name_stays_in_its_header(name: str) -> None:
    message = mail(replace(JOB, name=name, artifacts=(Artifact(f"{name}.png", "f", "image/png", 9, ""),)), picture=b"9")
    assert message["Bcc"] is None
    assert message["To"] == "ada@example.org"
    assert not set(message["Subject"]) & set("\r\n\x00\x1b\u202e")
    assert part(message, "plain").startswith("Your request is done")


def test_lines_are_short_enough_for_every_server() -> None:
    long = "x" * 5000
    job = replace(failed(long), name=long, parameters={long: long, "list": [long] * 50})
    notice = describe(job, FAILURE, "https://heliograph.example.org")
    raw = Composer("heliograph@example.org").compose(notice, FAILURE)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 200
    assert max(map(len, body.split(b"\r\n"))) <= 78
    assert raw.isascii()


@pytest.mark.parametrize(
    "parameters",
    [
        {"token": TOKEN}, {"query": TOKEN}, {"Authorization": "Bearer abcdefghijk"}, {"nested": {"api_key": TOKEN}},
        {"url": f"https://x.org/?a=1&token={TOKEN}"}, {"list": [{"password": TOKEN}]}, {"url": f"https://u:{TOKEN}@x.org/"},
    ],
)  # fmt: skip
def test_nothing_that_gives_access_is_said(parameters: dict[str, Any]) -> None:
    job = replace(failed(f"refused: {parameters} token={TOKEN}"), parameters=parameters, message=TOKEN)
    message = mail(job, FAILURE)
    for kind in ("plain", "html"):
        assert TOKEN not in part(message, kind)
        assert HIDDEN in part(message, kind)


def test_bearer_headers_and_url_passwords_are_hidden_in_words() -> None:
    assert clean("Authorization: Bearer abcdefghijk") == f"Authorization: Bearer {HIDDEN}"
    assert clean("amqp://guest:secretword@host/") == f"amqp://{HIDDEN}@host/"
    assert clean("the token expired") == "the token expired"


@pytest.mark.parametrize(
    "piece", ["eyJ", "token", "a.", "://a:", "x=", "-eyJ", "bearer ", " ", "eyJaaaaaaaa.aaaaaaaa."]
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


def test_what_came_after_the_told_change_stays_out() -> None:
    reopened = replace(JOB, series=2, state=State.QUEUED, seq=4)
    notice = describe(reopened, DELIVERY, "https://heliograph.example.org")
    assert (notice.result, notice.files, notice.picture) == ((), (), None)
    assert notice.summary == "periodogram finished 1 min 30 s after it was requested."


def test_an_error_is_said_in_words() -> None:
    message = mail(failed("rows: needs at least 8\nfound 3"), FAILURE)
    assert "    rows: needs at least 8\n    found 3" in part(message, "plain")
    assert "needs at least 8" in part(message, "html")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada L. <ada@example.org>", "ada@example.org"),
        ("Åsa <åsa@exämple.org>", "åsa@exämple.org"),
    ],
)
def test_a_mailbox_is_read(text: str, address: str) -> None:
    assert mailbox(text).addr_spec == address


@pytest.mark.parametrize("text", ["", "ada", "@x", "a@", "a@b@c", "a b@c", "a@b\nBcc: c@d", "a@b, c@d", "a@b\0", "<>"])
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        mailbox(text)


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


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", Server("mail", 25)),
        ("smtp://mail:1025", Server("mail", 1025)),
        ("smtps://u:p%40ss@mail", Server("mail", 465, "u", "p@ss", is_tls=True)),
        ("smtp+starttls://u:p@mail", Server("mail", 587, "u", "p", starts_tls=True)),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, server: Server) -> None:
    assert Server.of(url) == server


@pytest.mark.parametrize("url", ["", "mail:25", "http://mail", "smtp://", "smtp://mail:high"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be|[Pp]ort"):
        Server.of(url)


@pytest.mark.parametrize("page", [None, "https://results.example.org/42?a=1&b=2"])
def test_a_browser_is_led_to_the_result_page_and_nowhere_that_asks_for_a_token(page: str | None) -> None:
    message = mail(replace(JOB, handler=page))
    html, plain = part(message, "html"), part(message, "plain")
    assert ("Open the result" in html) is (page is not None)
    assert "/v1/jobs/" not in html
    if page:
        assert page in plain
        assert f'href="{page.replace("&", "&amp;")}"' in html
