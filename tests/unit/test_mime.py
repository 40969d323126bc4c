"""How the parts of a mail are encoded: as they are where that is safe; and no text gets out of its part."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from heliograph_notifier.channels.mime import MOST_LINE, mail

BOUNDARY = "0123456789abcdef"


def parts(text: str) -> list[EmailMessage]:
    raw = mail([("Subject", "Sunspots")], text, "<p>The plot is ready.</p>", None, boundary=BOUNDARY, utf8=False)
    assert not {*raw.replace(b"\r\n", b"")} & {*b"\r\n"}  # no end of line but CRLF
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    return list(message_from_bytes(raw, policy=policy.SMTP).iter_parts())  # type: ignore[arg-type]  # typeshed's word


def content(part: EmailMessage) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


PLAIN = ["The plot is ready.", "", "a\n\nb\n", "x" * MOST_LINE, "a = b_c", "--\nAda"]
ENCODED = [
    "The plot is réady.", "x" * (MOST_LINE + 1), "From here on\nit is fine", "One.\nFrom here on", "a\tb", "a\x0bb",
    f"--=_a.{BOUNDARY}--", f"One.\n--=_a.{BOUNDARY}\nContent-Type: text/html\n\n<b>Two.</b>", "a\x00b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "encoding"), [*((each, "7bit") for each in PLAIN), *((each, "quoted-printable") for each in ENCODED)]
)
def test_a_text_arrives_as_it_was_within_its_part(text: str, encoding: str) -> None:
    first, second = parts(text)
    assert content(first).rstrip("\n") == text.rstrip("\n")
    assert first["Content-Transfer-Encoding"] == encoding
    assert second.get_content_type() == "text/html"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_a_line_is_one(end: str) -> None:
    assert content(parts(f"One.{end}Two.")[0]) == "One.\nTwo.\n"
