"""How a mail is built: headers that thread and identify it, two parts, and nothing that breaks out of its place."""

import re
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from heliograph.channels import Link, Section
from heliograph.jobs.model import Artifact
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import Occasion, Subject, SubjectKind
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.message import AddressError, Composer, mailbox
from heliograph_notifier.describing.bulletin import describe_bulletin
from heliograph_notifier.describing.job import describe_job
from heliograph_notifier.links import Links
from tests.parts.mails import (
    DELIVERY,
    END,
    FAILURE,
    IDENTIFIER,
    JOB,
    LINKS,
    PICTURE,
    URL,
    failed,
    mail,
    mail_of,
    part,
    raw_mail,
)

NEW_HEADER = "x\r\nBcc: all@example.org\r\n\r\n<b>body</b>"


def bulletin_mail(kind: SubjectKind, site: str = "Heliograph", **fields: Any) -> EmailMessage:
    bulletin = replace(Bulletin(IDENTIFIER, kind, "ada@example.org", END, "It is wrong."), **fields)
    delivery = replace(DELIVERY, subject=bulletin.subject, occasion=Occasion(kind.value))
    return mail_of(describe_bulletin(bulletin, delivery, LINKS, site), delivery, site=site)


def test_a_subject_beyond_ascii_arrives_as_it_was() -> None:
    assert mail(replace(JOB, name="Röntgen " * 7))["Subject"].startswith("[Heliograph] done: Röntgen Röntgen")


def test_the_headers_thread_and_identify_it() -> None:
    message, again = mail(), mail()
    submitted = mail(delivery=replace(DELIVERY, occasion=Occasion.SUBMITTED, seq=1))
    resent = mail(delivery=replace(DELIVERY, copy=1))
    assert message["Message-ID"] == again["Message-ID"]
    assert len({each["Message-ID"] for each in (message, submitted, resent)}) == 3
    assert message["References"] == message["In-Reply-To"] == submitted["References"] == resent["References"]
    assert re.fullmatch(r"<[\w.]+@example\.org>", message["References"])
    assert message["From"] == "Heliograph <heliograph@example.org>"
    assert message["Reply-To"] == "help@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["Date"].datetime == END


def test_identifiers_are_ascii_whatever_the_senders_domain() -> None:
    raw = Composer("heliograph@exämple.org").compose(describe_job(JOB, DELIVERY, LINKS), DELIVERY)
    assert b"@xn--exmple-cua.org>" in raw


def test_one_click_ends_it() -> None:
    """As RFC 8058 asks: both headers, and the address whole."""
    message = mail()
    assert message["List-Unsubscribe"] == f"<{LINKS.unsubscribe(DELIVERY)}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("name", ["Röntgen " * 7, "plain"])
def test_its_address_is_whole_whatever_the_subject(name: str) -> None:
    delivery = replace(DELIVERY, recipient=f"{'a' * 60}@{'b' * 60}.{'c' * 60}.example.org")
    raw = raw_mail(describe_job(replace(JOB, name=name), delivery, LINKS), delivery)
    assert f"\r\nList-Unsubscribe: <{LINKS.unsubscribe(delivery)}>\r\n".encode() in raw
    assert mail(replace(JOB, name=name), delivery)["To"] == delivery.recipient


def test_without_keys_nothing_is_offered_that_needs_a_signature() -> None:
    message = mail(links=Links(URL, None))
    assert (message["List-Unsubscribe"], message["List-Unsubscribe-Post"]) == (None, None)
    assert "unsubscribe" not in part(message, "plain")


@pytest.mark.parametrize("kind", [SubjectKind.INCIDENT, SubjectKind.TEST])
def test_reports_and_tests_are_no_subscriptions(kind: SubjectKind) -> None:
    delivery = replace(DELIVERY, subject=Subject(kind, IDENTIFIER))
    notice = replace(describe_job(JOB, DELIVERY, LINKS), subject=delivery.subject)
    assert notice.unsubscribe
    assert mail_of(notice, delivery)["List-Unsubscribe"] is None


def test_both_parts_say_what_became_of_it_what_was_asked_and_where_to_look() -> None:
    job = replace(JOB, message="The strongest period is 11.00 years.", handler="https://results.example.org/42?a=1&b=2")
    message = mail(job, site="CTA North")
    for kind in ("plain", "html"):
        text = part(message, kind).replace("&amp;", "&").replace("&#34;", '"')
        for words in (
            "Your request is done", "periodogram finished 1 min 30 s after it was requested.", "11.00 years",
            "period", "peak", "help@example.org", "my plot.png", "30.0 s", "1 min", "CTA North",
            f"heliograph download {IDENTIFIER} --url {URL}", "https://results.example.org/42?a=1&b=2",
            f"{URL}/jobs/{IDENTIFIER}", f"{URL}/jobs/{IDENTIFIER}#log", f"{URL}/jobs/{IDENTIFIER}#repeat",
            "Report a problem", "Mute this request", "Stop all messages", LINKS.unsubscribe(DELIVERY) or "",
            "client.submit(", '"period": 11',
        ):  # fmt: skip
            assert words in text, (kind, words)


def test_every_link_of_the_html_is_one_of_the_text() -> None:
    message = mail(replace(JOB, group="campaign", handler="https://results.example.org/42"))
    addresses = re.findall(r'href="([^"]*)"', part(message, "html"))
    assert len(addresses) == 9
    assert all(each.removeprefix("mailto:") in part(message, "plain") for each in addresses)


def test_nothing_is_fetched_when_it_is_opened() -> None:
    """No picture, style sheet or font from elsewhere: opening a mail tells nobody."""
    html = part(mail(picture=PICTURE), "html")
    assert re.findall(r"src=|url\(|@import|<link|<script", html) == ["src="]
    assert 'src="cid:' in html


def test_an_error_is_said_in_words() -> None:
    message = mail(failed("rows: needs at least 8\nfound 3"), FAILURE)
    assert "    rows: needs at least 8\n    found 3" in part(message, "plain")
    assert "needs at least 8\nfound 3</pre>" in part(message, "html")


def test_a_report_keeps_its_lines() -> None:
    message = bulletin_mail(SubjectKind.INCIDENT, title="wrong axis", text="One.\n\n<b>Two.</b>")
    assert "One.\n\n<b>Two.</b>" in part(message, "plain")
    assert "One.<br><br>&lt;b&gt;Two.&lt;/b&gt;" in part(message, "html")
    for kind in ("plain", "html"):
        assert "Reports of problems at Heliograph go to this address" in " ".join(part(message, kind).split())


def test_a_test_asks_for_nothing() -> None:
    text = part(bulletin_mail(SubjectKind.TEST), "plain")
    assert "there is nothing to do" in text
    assert "HELIOGRAPH_TOKEN" not in text


def test_a_plot_stands_inside_the_html() -> None:
    message = mail(picture=PICTURE)
    (image,) = [each for each in message.walk() if each.get_content_type() == "image/png"]
    assert f'src="cid:{image["Content-ID"].strip("<>")}"' in part(message, "html")
    assert image.get_content() == PICTURE
    assert image.get_content_disposition() == "inline"


def test_a_notice_without_its_details_has_no_gaps() -> None:
    notice = describe_job(replace(JOB, message="secret words"), DELIVERY, LINKS).brief()
    message = mail_of(notice, DELIVERY)
    for kind in ("plain", "html"):
        text = part(message, kind)
        assert "What was asked" not in text
        assert "secret words" not in text
        assert "HELIOGRAPH_TOKEN" not in text
        assert "Your request is done" in text


def test_what_a_job_says_is_text_and_not_html() -> None:
    evil = '"><script>alert("x")</script>\'<img src=x onerror=alert(1)>'
    job = replace(
        failed(evil), name=evil, group=evil, parameters={evil: evil}, result={evil: [evil]}, message=evil,
        artifacts=(Artifact(evil, "f", "image/png", 9, ""),), handler=f"https://example.org/{evil}",
    )  # fmt: skip
    for each, delivery in ((job, FAILURE), (replace(job, state=JOB.state, history=JOB.history), DELIVERY)):
        html = part(mail(each, delivery, PICTURE, site=evil), "html")
        assert "<script" not in html
        assert html.count("<img") == (1 if delivery is DELIVERY else 0)
        assert html.count("&lt;script&gt;") >= 6


@pytest.mark.parametrize("text", [NEW_HEADER, NEW_HEADER.replace("\r", ""), "x\x00\x1b[31m\u202e\u2028\x85y"])
def test_what_others_say_stays_in_its_place(text: str) -> None:
    job = replace(
        JOB, name=text, group=text, backend=text, artifacts=(Artifact(f"{text}.png", "f", "image/png", 9, ""),)
    )
    for message in (
        mail(job, picture=b"9", site=text),
        mail(replace(failed(text), parameters={text: text, "a": [[text]]}), FAILURE),
        bulletin_mail(SubjectKind.INCIDENT, text, title=text, by=text, text=text),
        bulletin_mail(SubjectKind.TEST, text, by=text),
    ):
        assert message["Bcc"] is None
        assert message["To"] == "ada@example.org"
        assert not set("".join(message.values())) & set("\r\n\x00\x1b\u202e\u2028\x85")
        assert not set(part(message, "plain")) & set("\r\x00\x1b\u202e\u2028\x85")
        assert not set(part(message, "html")) & set("\r\x00\x1b\u202e\u2028\x85")
        assert message.defects == []


def test_a_notice_of_anothers_making_stays_in_its_place() -> None:
    """What describes a subject cleans it; a mail does not rely on that for its headers."""
    notice = replace(describe_job(JOB, DELIVERY, LINKS), title=NEW_HEADER)
    assert mail_of(notice, DELIVERY)["Bcc"] is None


def test_lines_are_short_enough_for_every_server() -> None:
    long = "x" * 5000
    job = replace(
        failed(long), name=long, group=long, parameters={long: long, "list": [long] * 50}, handler=f"https://{long}"
    )
    for name in (long, "ü" * 300):
        raw = raw_mail(describe_job(replace(job, name=name), FAILURE, LINKS, long), FAILURE)
        head, _, body = raw.partition(b"\r\n\r\n")
        assert max(map(len, head.split(b"\r\n"))) <= 300
        assert max(map(len, body.split(b"\r\n"))) <= 78
        assert raw.isascii()


def test_an_address_too_long_for_a_header_is_left_to_the_foot() -> None:
    notice = replace(describe_job(JOB, DELIVERY, LINKS), unsubscribe=f"https://example.org/{'x' * 1000}")
    assert mail_of(notice, DELIVERY)["List-Unsubscribe"] is None


def test_the_text_is_laid_out_in_columns() -> None:
    notice = replace(
        describe_job(JOB, DELIVERY, LINKS), sections=(Section("Peaks", (("a", "1"), ("longer", "2"), ("", "alone"))),),
        links=(Link("Open", "https://example.org"),),
    )  # fmt: skip
    assert "\nPeaks\n-----\na:      1\nlonger: 2\nalone\n" in part(mail_of(notice, DELIVERY), "plain")


@pytest.mark.parametrize("occasion", list(Occasion))
def test_no_text_has_a_gap_of_lines(occasion: Occasion) -> None:
    for delivery in (replace(DELIVERY, occasion=occasion),):
        notice = replace(describe_job(JOB, DELIVERY, LINKS), occasion=delivery.occasion)
        for each in (notice, notice.brief(), replace(notice, links=(), choices=(), outline=())):
            assert "\n\n\n" not in part(mail_of(each, delivery), "plain")


def test_a_recipient_is_a_bare_address() -> None:
    for recipient in ("Ada <ada@example.org>", "ada@example.org, bob@example.org", NEW_HEADER):
        with pytest.raises(AddressError):
            mail(delivery=replace(DELIVERY, recipient=recipient))


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
