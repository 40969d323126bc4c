"""A notice as a mail: headers that thread and identify it, a text and an HTML part, the plot inside."""

import hashlib
import re
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, getaddresses

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from heliograph.notices.model import Delivery
from heliograph_notifier.notice import Notice
from heliograph_notifier.readable import one_line

MOST_HEADER = 200  # characters; the longest subject of ours has about 150, and RFC 5322 allows 998

_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]+@[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]+")


class AddressError(ValueError):
    """Not the address of a mailbox."""


def mailbox(text: str) -> Address:
    """Read an address, with a display name or without; ``AddressError`` where it is none that may go into a header."""
    found = getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if any(each in text for each in "\r\n\0") or not _ADDRESS.fullmatch(address):
        raise AddressError("this is not the address of a mailbox")
    user, _, domain = address.rpartition("@")
    try:
        return Address(name, user, domain)  # an address as a whole may hold ASCII alone
    except (HeaderParseError, ValueError, IndexError) as error:
        raise AddressError("this is not the address of a mailbox") from error


class Composer:
    """Lays out mails for one sender address.

    Templates get clean values; HTML is escaped by the engine, and an undefined name is an error rather than a gap.
    """

    def __init__(self, sender: str, contact: str | None = None) -> None:
        self._sender = mailbox(sender)
        self._contact = mailbox(contact) if contact else None
        self._templates = Environment(
            loader=PackageLoader("heliograph_notifier"), undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, autoescape=select_autoescape(["html"], default=False),
        )  # fmt: skip

    @property
    def envelope_sender(self) -> str:
        """The address that bounces go to."""
        return self._sender.addr_spec

    def compose(self, notice: Notice, delivery: Delivery, picture: bytes | None = None) -> bytes:
        """Return the mail as it goes over the wire.

        The same delivery always has the same Message-ID, and a job's mails are one thread.

        Raises
        ------
        AddressError
            The recipient is no mailbox.
        """
        if delivery.recipient != mailbox(delivery.recipient).addr_spec:
            raise AddressError("a recipient is a bare address")
        message = EmailMessage(policy=SMTP_POLICY.clone(utf8=not delivery.recipient.isascii()))
        thread = f"<job.{notice.job.lower()}@{self._sender.domain}>"
        message["From"] = self._sender
        message["To"] = mailbox(delivery.recipient)
        if self._contact:
            message["Reply-To"] = self._contact
        message["Subject"] = notice.subject
        message["Date"] = format_datetime(delivery.created_at)
        message["Message-ID"] = f"<{_digest(delivery.key)}@{self._sender.domain}>"
        message["In-Reply-To"] = thread
        message["References"] = thread
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        contact = self._contact.addr_spec if self._contact else None
        picture_id = f"plot.{_digest(delivery.key)}@{self._sender.domain}" if picture else None
        values = {"notice": notice, "contact": contact, "picture_id": picture_id}
        text = self._templates.get_template("notice.txt").render(values)
        html = self._templates.get_template("notice.html").render(values)
        # Quoted-printable passes every server, and keeps each line below the 998 bytes that RFC 5322 allows.
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        if picture and notice.picture:
            (page,) = (part for part in message.iter_parts() if part.get_content_subtype() == "html")
            assert isinstance(page, EmailMessage)
            name = one_line(notice.picture.name)
            page.add_related(picture, "image", "png", cid=f"<{picture_id}>", filename=name, disposition="inline")
        # A short ASCII subject stays on one line: the library would fold it before its first word.
        folding = SMTP_POLICY.max_line_length if not notice.subject.isascii() else MOST_HEADER
        return message.as_bytes(policy=message.policy.clone(max_line_length=folding))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
