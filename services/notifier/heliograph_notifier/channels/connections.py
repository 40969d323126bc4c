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
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPResponseException

MOST_MESSAGES = 50
MOST_IDLE_SECONDS = 30.0
TRUSTED_SECONDS = 2.0  # one used so lately is taken to be there still: asking takes as long as naming a recipient
_CLOSING = 421
WAIT_SECONDS = 20.0  # for one that others use; the sender's deadline has to last for sending besides
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
    def __init__(self, client: SMTP) -> None:
        self.client = client
        self.messages = 0
        self.used_at = time.monotonic()
        self.is_clean = True  # no refused message lies open on it

    @property
    def is_fit(self) -> bool:
        is_fresh = time.monotonic() - self.used_at < MOST_IDLE_SECONDS
        return is_fresh and self.messages < MOST_MESSAGES and self.client.is_connected

    @property
    def is_trusted(self) -> bool:
        return self.is_clean and time.monotonic() - self.used_at < TRUSTED_SECONDS


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
    async def lend(self, *, asked: bool) -> AsyncIterator[SMTP]:
        """Lend a connection; ``asked``, one that has just answered.

        One that its user left by an exception is closed, unless it was the server's own refusal of the message.

        Raises
        ------
        NoConnectionError
            As its name says.
        BusyError
            As its name says.
        """
        async with self._place():
            connection = await self._take(asked=asked) or await self._open()
            try:
                yield connection.client
                connection.is_clean = True
            except SMTPResponseException as error:
                if error.code == _CLOSING:
                    connection.client.close()
                connection.is_clean = False
                raise
            except BaseException:
                connection.client.close()
                raise
            finally:
                if connection.client.is_connected:
                    connection.messages += 1
                    connection.used_at = time.monotonic()
                    self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            await _quit(self._idle.pop().client)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise BusyError("every connection to the mail server is in use") from error
        try:
            yield
        finally:
            self._free.release()

    async def _take(self, *, asked: bool) -> _Connection | None:
        """Return an idle connection on which the server still answers, or did so just now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fit:
                if connection.is_trusted and not asked:
                    return connection
                try:
                    await connection.client.rset()
                except (SMTPException, OSError):
                    connection.client.close()
                else:
                    return connection
            else:
                await _quit(connection.client)
        return None

    async def _open(self) -> _Connection:
        client = SMTP(
            hostname=self._server.host, port=self._server.port, username=self._server.user,
            password=self._server.password, use_tls=self._server.is_tls, start_tls=self._server.starts_tls,
            timeout=COMMAND_SECONDS, tls_context=self._trust,
        )  # fmt: skip
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()  # what the server can do is asked before each message
        except BaseException as error:
            client.close()
            if isinstance(error, SMTPException | OSError):
                raise NoConnectionError(_why(error)) from error
            raise
        return _Connection(client)


async def _quit(client: SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError):
        await client.quit(timeout=2.0)  # politeness only
    client.close()


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
