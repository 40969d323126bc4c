"""A notice as a mail: headers that thread and identify it, a text and an HTML part, the plot inside."""

import hashlib
import re
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from pathlib import Path

from heliograph.channels import Notice
from heliograph.notices.model import Delivery, SubjectKind
from heliograph.notices.model import Policy as DeliveryPolicy
from heliograph_notifier.channels.mime import Picture, mail
from heliograph_notifier.channels.templates import Templates
from heliograph_notifier.readable import one_line

MOST_HEADER = 240  # characters; the longest subject of ours has about 230, and RFC 5322 allows 998
MOST_ADDRESS = 900  # characters of an address in a header, which stays on one line
MOST_SITE = 60  # characters, as of the setting
_UNSUBSCRIBED = frozenset({SubjectKind.JOB, SubjectKind.GROUP})  # nobody subscribes to a test, or to reports

_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]+@[^\s@<>()\[\],;:\"\\\x00-\x1f\x7f]+")


class AddressError(ValueError):
    """Not the address of a mailbox."""


@lru_cache(maxsize=1024)
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
    """Lays out mails for one sender address, from templates of the site's own and those that ship."""

    def __init__(
        self, sender: str, contact: str | None = None, templates: Path | None = None, site: str = "Heliograph"
    ) -> None:  # fmt: skip
        self._sender = mailbox(sender)
        self._domain = self._sender.domain.encode("idna").decode()  # of identifiers, which are ASCII
        self._contact = mailbox(contact) if contact else None
        self._templates = Templates(templates)
        self._site = one_line(site, MOST_SITE)

    @property
    def envelope_sender(self) -> str:
        """The address that bounces go to."""
        return self._sender.addr_spec

    def after_unknown(self, delivery: Delivery, backend: str | None) -> DeliveryPolicy:
        """Say what happens to a mail of whose arrival nothing is known: what its template says, else it goes again."""
        stated = self._templates.when_unknown(delivery.subject.kind, backend)
        return stated.get(delivery.occasion, DeliveryPolicy.AT_LEAST_ONCE)

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
        digest = _digest(delivery.key)
        shown = (
            Picture(f"plot.{digest}@{self._domain}", notice.picture.name, picture)
            if picture and notice.picture
            else None
        )
        values = {
            "notice": notice, "site": self._site, "picture_id": shown.id if shown else None,
            "contact": self._contact.addr_spec if self._contact else None,
        }  # fmt: skip
        text, html = (
            self._templates.render(form, delivery.subject.kind, notice.backend, values) for form in ("txt", "html")
        )
        headers = self._headers(notice, delivery, digest)
        return mail(headers, text, html, shown, boundary=digest, utf8=not delivery.recipient.isascii())

    def _headers(self, notice: Notice, delivery: Delivery, digest: str) -> list[tuple[str, str]]:
        thread = f"<{notice.thread}@{self._domain}>"
        headers = [("From", str(self._sender)), ("To", delivery.recipient)]
        if self._contact:
            headers.append(("Reply-To", str(self._contact)))
        headers += [
            ("Subject", one_line(notice.title, MOST_HEADER - len("Subject: "))),
            ("Date", format_datetime(delivery.created_at)),
            ("Message-ID", f"<{digest}@{self._domain}>"),
            ("In-Reply-To", thread),
            ("References", thread),
            ("Auto-Submitted", "auto-generated"),
            ("X-Auto-Response-Suppress", "All"),
        ]
        if notice.unsubscribe and delivery.subject.kind in _UNSUBSCRIBED and len(notice.unsubscribe) <= MOST_ADDRESS:
            headers.append(("List-Unsubscribe", f"<{notice.unsubscribe}>"))
            headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        return headers


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
