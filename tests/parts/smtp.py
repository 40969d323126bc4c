"""A mail server for tests, whose behaviour can be switched while it runs."""

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import StrEnum
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.parts.certificates import Certificate
from tests.parts.ports import free_port


class Behaviour(StrEnum):
    """What the server does with a message."""

    OK = "ok"
    PUT_OFF = "put-off"  # 451 to the recipient
    BUSY = "busy"  # 421 to the recipient: the server speaks of itself
    REFUSE = "refuse"  # 550 to the recipient
    REFUSE_CONTENT = "refuse-content"  # 554 after the data
    DROP_AFTER_DATA = "drop-after-data"  # takes the message and closes the connection without a word
    SLOW = "slow"  # answers the data after ``slow_seconds``


class MailServer:
    """A server on a port of its own; what it took lies in ``mails``, also what it did not acknowledge.

    ``behaviours`` gives single recipients another behaviour than ``behaviour``. With a ``certificate`` it speaks TLS,
    by STARTTLS unless ``is_tls``; with a ``login``, a user and a password, it takes mails of nobody else.
    """

    def __init__(
        self, certificate: Certificate | None = None, *, is_tls: bool = False, login: tuple[str, str] | None = None
    ) -> None:  # fmt: skip
        self._trust: ssl.SSLContext | None = None
        if certificate:
            self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._trust.load_cert_chain(certificate.certificate, certificate.key)
        self._is_tls = is_tls
        self._login = login
        self.logins = 0
        self.behaviour = Behaviour.OK
        self.behaviours: dict[str, Behaviour] = {}
        self.slow_seconds = 0.5
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []  # of ``mails``, from the envelope
        self.connections = 0
        self.attempts = 0  # messages begun, refused ones included
        self.port = free_port()
        self._arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.BaseTransport] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        scheme = "smtp" if self._trust is None else "smtps" if self._is_tls else "smtp+starttls"
        login = ":".join(self._login) + "@" if self._login else ""
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; a second start listens on the same port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, "127.0.0.1", self.port, ssl=self._trust if self._is_tls else None
        )  # fmt: skip

    def hang_up(self) -> None:
        """Break the connections that are open."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    async def stop(self) -> None:
        """Be down: refuse connections, and break those that are open."""
        if self._server:
            self._server.close()
            self.hang_up()
            await self._server.wait_closed()
            self._server = None

    async def wait_for_mails(self, count: int, seconds: float = 60.0) -> list[EmailMessage]:
        """Return the mails once there are so many."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.mails) >= count)
        return self.mails

    async def wait_for_attempts(self, count: int, seconds: float = 60.0) -> None:
        """Return once so many messages were begun."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: self.attempts >= count)

    # What the protocol calls; the names are its own.

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        async with self._arrived:
            self.attempts += 1
            self._arrived.notify_all()
        match self._behaviour_for(address):
            case Behaviour.PUT_OFF:
                return "451 4.7.1 greylisted, come back later"
            case Behaviour.BUSY:
                return "421 4.3.2 too busy"
            case Behaviour.REFUSE:
                return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,) = envelope.rcpt_tos
        behaviour = self._behaviour_for(recipient)
        if behaviour is Behaviour.REFUSE_CONTENT:
            return "554 5.6.0 not this content"
        if behaviour is Behaviour.SLOW:
            await asyncio.sleep(self.slow_seconds)
        assert isinstance(envelope.content, bytes)
        async with self._arrived:
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients.append(recipient)
            self._arrived.notify_all()
        if behaviour is Behaviour.DROP_AFTER_DATA:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return f"250 2.0.0 queued as {len(self.mails)}"

    def _behaviour_for(self, recipient: str) -> Behaviour:
        return self.behaviours.get(recipient, self.behaviour)

    def _protocol(self) -> SMTP:
        self.connections += 1
        options: dict[str, Any] = {}
        if self._trust and not self._is_tls:
            options |= {"tls_context": self._trust, "require_starttls": True}
        if self._login:
            # The library knows of no TLS but its own; where it begins at once, a login is offered and not required.
            starts = not self._is_tls
            options |= {"authenticator": self._authenticate, "auth_required": starts, "auth_require_tls": starts}
        return _Protocol(self._transports, self, **options)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins += 1
        is_known = (data.login.decode(), data.password.decode()) == self._login
        return AuthResult(success=is_known, handled=False)


class _Protocol(SMTP):
    """One connection, remembered so that a server that goes down can break it."""

    def __init__(self, transports: set[asyncio.BaseTransport], server: MailServer, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, enable_SMTPUTF8=True, hostname="mail.example.org", loop=loop, **options)
        self._open = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._open.add(transport)
        super().connection_made(transport)
