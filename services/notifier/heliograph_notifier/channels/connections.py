"""A small pool of SMTP connections.

A facility's server counts logins and connections (454, 421), so that a connection for each message is too many and an
eternal one breaks unseen: one is used for up to 50 messages and not again after it was idle for 30 s.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException

MOST_MESSAGES = 50
MOST_IDLE_SECONDS = 30.0
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


class _Connection:
    def __init__(self, client: SMTP) -> None:
        self.client = client
        self.messages = 0
        self.used_at = time.monotonic()

    @property
    def is_fit(self) -> bool:
        is_fresh = time.monotonic() - self.used_at < MOST_IDLE_SECONDS
        return is_fresh and self.messages < MOST_MESSAGES and self.client.is_connected


class Connections:
    """Lends connections, at most ``most`` at a time."""

    def __init__(self, server: Server, most: int) -> None:
        self._server = server
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[SMTP]:
        """Lend a connection that has just answered; one that its user left by an exception is closed.

        Raises
        ------
        NoConnectionError
            As its name says.
        """
        async with self._free:
            connection = await self._take() or await self._open()
            try:
                yield connection.client
            except BaseException:
                connection.client.close()
                raise
            connection.messages += 1
            connection.used_at = time.monotonic()
            self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            await _quit(self._idle.pop().client)

    async def _take(self) -> _Connection | None:
        """Return an idle connection on which the server still answers."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fit:
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
            timeout=COMMAND_SECONDS,
        )  # fmt: skip
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()  # what the server can do is asked before each message
        except BaseException as error:
            client.close()
            if isinstance(error, SMTPException | OSError):
                raise NoConnectionError(str(error) or type(error).__name__) from error
            raise
        return _Connection(client)


async def _quit(client: SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError):
        await client.quit(timeout=2.0)  # politeness only
    client.close()
