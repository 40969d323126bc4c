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
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\n"
_CHANGED = (b"=_", b"\nFrom ")  # what could be taken for a boundary, and what some servers change


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
    # What is not plain ASCII in short lines goes out as quoted-printable, which passes every server. In neither can the
    # boundary's "=_" come up.
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
    lines = text.removesuffix("\n").replace("\r\n", "\n").replace("\r", "\n") + "\n"
    data = lines.encode("utf-8", "replace")
    is_plain = _is_plain(data)
    head = (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {'7bit' if is_plain else 'quoted-printable'}\r\n\r\n"
    ).encode("ascii")
    data = data.replace(b"\n", b"\r\n")
    return head + (data if is_plain else b2a_qp(data, istext=True))


def _is_plain(data: bytes) -> bool:
    """Say whether lines pass every server as they are, and hold no boundary; encoding takes three times as long."""
    return (
        not data.translate(None, _PRINTABLE)
        and not any(each in data for each in _CHANGED)
        and not data.startswith(b"From ")
        and max(map(len, data.split(b"\n"))) <= MOST_LINE
    )


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
