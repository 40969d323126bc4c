"""A mail server on loopback that delivers nothing: it keeps what it is given, for a person or a test to read."""

import asyncio
import email
import email.policy
import re
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
KEPT_IN_MEMORY = 500  # the files are all kept
HEADERS = ("From", "To", "Subject", "Date")


class MailCatcher:
    """Takes mail in the running event loop; ``async with MailCatcher(folder) as catcher`` starts and stops it.

    Every message is written to ``folder`` as an ``.eml`` file, numbered in the order of arrival, before the sender is
    told that it was taken. Without ``port`` the system chooses one.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self._port = port
        self._server: asyncio.Server | None = None
        self._messages: deque[EmailMessage] = deque(maxlen=KEPT_IN_MEMORY)
        self._arrival = asyncio.Condition()
        self._number = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where mail is to be sent; known after the start."""
        return f"smtp://{HOST}:{self._port}"

    @property
    def messages(self) -> tuple[EmailMessage, ...]:
        """What has come, oldest first; the last few hundred."""
        return tuple(self._messages)

    async def start(self) -> None:
        """Listen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = (file.name.partition("-")[0] for file in self.folder.glob("*.eml"))
        self._number = max((int(number) for number in numbers if number.isdecimal()), default=0)
        self._server = await asyncio.get_running_loop().create_server(self._session, HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no further mail; what has come stays."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def wait_for(self, wanted: Callable[[EmailMessage], bool]) -> EmailMessage:
        """Return the first message that is wanted, as soon as it has come."""
        async with self._arrival:
            while True:
                for message in self._messages:
                    if wanted(message):
                        return message
                await self._arrival.wait()

    def _session(self) -> SMTP:
        # With a name given, no name is looked up: that takes seconds on a machine without a network.
        return SMTP(self, hostname="localhost", ident="Heliograph mail catcher", enable_SMTPUTF8=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep one message."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)
        async with self._arrival:
            self._number += 1
            await asyncio.to_thread((self.folder / _file_name(self._number, message)).write_bytes, content)
            self._messages.append(message)
            self._arrival.notify_all()
        return "250 2.0.0 Kept"


def as_person_reads(message: EmailMessage) -> str:
    """Return what a reader of the message sees: its head, its text, and a line for each picture and attachment."""
    head = [f"{name}: {message[name]}" for name in HEADERS if name in message]
    text = message.get_body(("plain",))
    lines = text.get_content().strip().splitlines() if text is not None else ["(This message has no text part.)"]
    parts = [_describe(part) for part in message.walk() if not part.is_multipart() and not _is_body(part)]
    return "\n".join([*head, "", *lines, *([""] if parts else []), *parts])


def _is_body(part: EmailMessage) -> bool:
    return part.get_content_maintype() == "text" and not part.is_attachment()


def _describe(part: EmailMessage) -> str:
    kind = "attachment" if part.is_attachment() else "shown in the message"
    content = part.get_payload(decode=True)
    size = len(content) if isinstance(content, bytes) else 0
    return f"[{kind}: {part.get_filename() or 'unnamed'}, {part.get_content_type()}, {size:,} bytes]"


def _file_name(number: int, message: EmailMessage) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", str(message.get("Subject", "")).lower()).strip("-")[:60].rstrip("-")
    return f"{number:04d}-{words or 'no-subject'}.eml"
