"""A mail as bytes: headers, a text and an HTML part, a picture inside.

The standard library's ``EmailMessage`` lays the same out in ten times the time, which was most of what sending a mail
took; it still writes what is not plain: headers beyond ASCII or too long for a line, and pictures.
"""

from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from functools import lru_cache

from heliograph_notifier.readable import one_line

MOST_LINE = 990  # characters of an ASCII header, which stays on one line: addresses in one must; RFC 5322 allows 998
_UTF8 = SMTP.clone(utf8=True)


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that the HTML part shows by its ``id``."""

    id: str
    name: str
    data: bytes


def mail(
    headers: Sequence[tuple[str, str]], text: str, html: str, picture: Picture | None, *, boundary: str, utf8: bool
) -> bytes:  # fmt: skip
    """Return a mail. ``boundary`` is any word of letters and digits; with ``utf8`` headers are not encoded (RFC 6531).

    Raises
    ------
    ValueError
        A header holds a line break.
    """
    # Quoted-printable passes every server, and keeps each line below the 998 bytes that RFC 5322 allows. In it the
    # boundary's "=_" cannot come up.
    page = _text("html", html)
    if picture is not None:
        page = _multipart("related", f"=_r.{boundary}", [page, _image(picture)])
    body = _multipart("alternative", f"=_a.{boundary}", [_text("plain", text), page])
    head = b"".join(_header(name, value, utf8=utf8) for name, value in headers)
    return head + b"MIME-Version: 1.0\r\n" + body


def _header(name: str, value: str, *, utf8: bool) -> bytes:
    if value.isascii() and value.isprintable() and len(name) + len(value) < MOST_LINE:
        return f"{name}: {value}\r\n".encode("ascii")
    return _folded(name, value, utf8=utf8)


@lru_cache(maxsize=128)
def _folded(name: str, value: str, *, utf8: bool) -> bytes:
    policy = _UTF8 if utf8 else SMTP
    return policy.fold_binary(*policy.header_store_parse(name, value))


def _text(subtype: str, text: str) -> bytes:
    lines = "\r\n".join(text.removesuffix("\n").replace("\r\n", "\n").replace("\r", "\n").split("\n")) + "\r\n"
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode("ascii") + b2a_qp(lines.encode("utf-8", "replace"), istext=True)


def _image(picture: Picture) -> bytes:
    part = EmailMessage(policy=SMTP)
    part.set_content(
        picture.data, "image", "png", cid=f"<{picture.id}>", filename=one_line(picture.name), disposition="inline"
    )
    del part["MIME-Version"]
    return part.as_bytes()


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    kind = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n'.encode("ascii")
    between = f"\r\n--{boundary}\r\n".encode("ascii")
    return kind + between + between.join(parts) + f"\r\n--{boundary}--\r\n".encode("ascii")
