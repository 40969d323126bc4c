"""One connection to the broker, kept: it connects in the background, notices every kind of loss, and connects again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, PublishError
from yarl import URL

from heliograph.backoff import Backoff

RECONNECT = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))
OPEN_SECONDS = 10.0  # to connect, and again to declare and subscribe
CLOSE_SECONDS = 5.0
HEARTBEAT_SECONDS = 10  # a peer that has gone without a word is noticed after three of these

# They log each try and each lost channel as an error of its own; the bus says once that it is away.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

OnOpen = Callable[[AbstractConnection], Awaitable[None]]
OnChange = Callable[[str | None], None]


class LinkLostError(Exception):
    """The connection went while something was done over it."""


@contextmanager
def losses() -> Generator[None, None, None]:
    """Raise ``LinkLostError`` for each of the many ways in which a call says that its connection has gone.

    One of them is a ``CancelledError`` although nobody cancelled: aiormq fails what is pending with it. A message
    that the broker gave back (``PublishError``) is no loss.
    """
    try:
        yield
    except PublishError:
        raise
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise LinkLostError(_in_words(error)) from error
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        raise LinkLostError("closed") from error


class Link:
    """Keeps a connection open until it is closed.

    Parameters
    ----------
    url
        Of the broker; ``?heartbeat=`` in it wins over ours.
    name
        What the broker's operators see.
    on_open
        Called with each new connection, to declare and to subscribe; where it raises, the connection is given up.
    on_change
        Called with None when the link is open, and with the reason when it is lost or could not be opened.
    """

    def __init__(self, url: str, *, name: str, on_open: OnOpen, on_change: OnChange) -> None:
        whole = URL(url)
        self._url = whole if "heartbeat" in whole.query else whole.update_query(heartbeat=HEARTBEAT_SECONDS)
        self._name = name
        self._on_open = on_open
        self._on_change = on_change
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._reason = ""
        self._task: asyncio.Task[None] | None = None
        self.connection: AbstractConnection | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection stands and everything on it is declared."""
        return self._opened.is_set()

    async def wait_open(self) -> None:
        """Return once the link is open."""
        await self._opened.wait()

    def start(self) -> None:
        """Begin to connect, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"link {self._name}")

    async def close(self) -> None:
        """Close the connection and stay away."""
        self._opened.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def guard(self, connection: AbstractConnection, channel: AbstractChannel) -> Callable[[], None]:
        """Take the loss of this channel for the loss of the whole link: half a connection is hard to reason about.

        Returns
        -------
        Callable
            Lets go of the channel, before it is closed on purpose.
        """

        def on_close(_channel: AbstractChannel | None, error: BaseException | None) -> None:
            self.lose(connection, error)

        channel.close_callbacks.add(on_close)
        return lambda: channel.close_callbacks.discard(on_close)

    def lose(self, connection: AbstractConnection | None, error: BaseException | None) -> None:
        """Give this connection up and make a new one; nothing happens where that has happened already."""
        if connection is self.connection and not self._lost.is_set():
            self._reason = _in_words(error)
            self._opened.clear()
            self._lost.set()

    async def _keep(self) -> None:
        failures = 0
        # Asked again here, for below us a wish to end may be lost: in Python 3.11 ``wait_for`` drops one that comes
        # together with its result.
        while not _is_cancelled():
            try:
                with losses():
                    await self._hold()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer is another try, and the log names it
                self._reason = _in_words(error)
                failures += 1
            self._on_change(self._reason)
            await asyncio.sleep(RECONNECT.wait(failures).total_seconds())

    async def _hold(self) -> None:
        """Connect and return when the connection is lost; raise where it could not be made."""
        connection = aio_pika.Connection(self._url, client_properties={"connection_name": self._name})
        try:
            await connection.connect(timeout=OPEN_SECONDS)
            self.connection = connection
            self._lost.clear()
            connection.close_callbacks.add(self.lose)
            async with asyncio.timeout(OPEN_SECONDS):
                await self._on_open(connection)
            if _is_cancelled():
                return
            if not self._lost.is_set():
                self._opened.set()
                self._on_change(None)
            await self._lost.wait()
        finally:
            self._opened.clear()
            self.connection = None
            # Also one that never stood: left to the garbage collector it would begin to close itself there.
            with suppress(LinkLostError), losses():  # it is given up either way
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()


def _in_words(error: BaseException | None) -> str:
    if error is None or isinstance(error, LinkLostError):
        return str(error or "closed")
    return f"{type(error).__name__}: {error}"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
