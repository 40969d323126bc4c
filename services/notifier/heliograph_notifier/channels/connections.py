"""A small pool of SMTP connections.

A facility's server counts logins and connections (454, 421), so that a connection for each message is too many and an
eternal one breaks unseen: one is used for up to 50 messages and not again after it was idle for 30 s. One that was just
in use is lent without asking whether it still answers; whoever finds it broken before the message was on its way asks
for one that does.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPResponseException
from typing_extensions import override

from heliograph_notifier.channels.session import CLOSING, Session

MOST_MESSAGES = 50
MOST_IDLE_SECONDS = 30.0
TRUSTED_SECONDS = 2.0  # one used so lately is taken to be there still: asking takes as long as naming a recipient
WAIT_SECONDS = 20.0  # for one that others use; the sender's deadline has to last for sending besides
QUIT_SECONDS = 2.0  # politeness only
COMMAND_SECONDS = 20.0  # one answer of the server; RFC 5321 allows minutes, the sender's deadline does not


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail goes: ``smtp://`` (plain), ``smtp+starttls://`` or ``smtps://``, with user and password or without."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    is_tls: bool = False
    starts_tls: bool = False

    @classmethod
    def of(cls, url: str) -> "Server":
        """Read a URL; ``ValueError`` says what is wrong with it, and never repeats its password."""
        parts = urlsplit(url)
        ports = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
        if parts.scheme not in ports or not parts.hostname:
            raise ValueError("must be smtp://, smtp+starttls:// or smtps:// with a host")
        return cls(
            parts.hostname,
            parts.port or ports[parts.scheme],
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            is_tls=parts.scheme == "smtps",
            starts_tls=parts.scheme == "smtp+starttls",
        )


class NoConnectionError(Exception):
    """No connection came about: the server is away, or it does not let us in."""


class BusyError(Exception):
    """All connections are in use, and stay so."""


class _Connection:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.messages = 0
        self.used_at = time.monotonic()
        self.is_clean = True  # no refused message lies open on it

    @property
    def is_fit(self) -> bool:
        is_fresh = time.monotonic() - self.used_at < MOST_IDLE_SECONDS
        return is_fresh and self.messages < MOST_MESSAGES and self.session.is_connected

    @property
    def is_trusted(self) -> bool:
        return self.is_clean and time.monotonic() - self.used_at < TRUSTED_SECONDS


class _Client(SMTP):
    """Opens a connection; one that does not come about is closed at once, where TLS would wait for the server."""

    @override
    def close(self) -> None:
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()
        super().close()


class Connections:
    """Lends connections, at most ``most`` at a time; ``ca_file`` names certificates to trust besides the system's."""

    def __init__(self, server: Server, most: int, ca_file: Path | None = None) -> None:
        self._server = server
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(most)
        self._trust = ssl.create_default_context()
        if ca_file is not None:
            self._trust.load_verify_locations(ca_file)

    @asynccontextmanager
    async def lend(self, *, asked: bool) -> AsyncIterator[Session]:
        """Lend a connection; ``asked``, one that has just answered.

        One that its user left by an exception is closed, unless it was the server's own refusal of the message.

        Raises
        ------
        NoConnectionError
            As its name says.
        BusyError
            As its name says.
        """
        await self._take_place()
        try:
            connection = await self._take(asked=asked) or await self._open()
            try:
                yield connection.session
                connection.is_clean = True
            except SMTPResponseException as error:
                if error.code == CLOSING:
                    connection.session.close()
                connection.is_clean = False
                raise
            except BaseException:
                connection.session.close()
                raise
            finally:
                if connection.session.is_connected:
                    connection.messages += 1
                    connection.used_at = time.monotonic()
                    self._idle.append(connection)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            await _quit(self._idle.pop().session)

    async def _take_place(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # which then takes no time, and needs no clock
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise BusyError("every connection to the mail server is in use") from error

    async def _take(self, *, asked: bool) -> _Connection | None:
        """Return an idle connection on which the server still answers, or did so just now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fit:
                if connection.is_trusted and not asked:
                    return connection
                if await _answers(connection.session):
                    return connection
            else:
                await _quit(connection.session)
        return None

    async def _open(self) -> _Connection:
        client = _Client(
            hostname=self._server.host, port=self._server.port, username=self._server.user,
            password=self._server.password, use_tls=self._server.is_tls, start_tls=self._server.starts_tls,
            timeout=COMMAND_SECONDS, tls_context=self._trust,
        )  # fmt: skip
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except BaseException as error:
            client.close()
            if isinstance(error, SMTPException | OSError):
                raise NoConnectionError(_why(error)) from error
            raise
        return _Connection(_session(client))


def _session(client: SMTP) -> Session:
    """Take an open connection over from the library that opened it."""
    transport = cast("asyncio.Transport", client.transport)  # uvloop's are of no class of asyncio's
    return Session(
        transport, pipelines=client.supports_extension("pipelining"),
        takes_utf8=client.supports_extension("smtputf8"), patience=COMMAND_SECONDS,
    )  # fmt: skip


async def _answers(session: Session) -> bool:
    """Return whether the server still answers; the connection is closed unless it does, also on being cancelled."""
    try:
        await session.reset()
    except BaseException as error:
        session.close()
        if isinstance(error, SMTPException | OSError):
            return False
        raise
    return True


async def _quit(session: Session) -> None:
    try:
        with contextlib.suppress(SMTPException, OSError):
            await session.quit(QUIT_SECONDS)
    finally:
        session.close()


def _why(error: BaseException) -> str:
    """Return why no connection came about, for an operator to mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the mail server's certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, SMTPAuthenticationError):
            return f"the mail server refused the login: {cause.code} {cause.message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__
