"""One connection to the broker, kept: it connects in the background, notices every kind of loss, and connects again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from heliograph.bus.backoff import Backoff

RECONNECT = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))
OPEN_SECONDS = 10.0  # to connect, and again to declare and subscribe
CLOSE_SECONDS = 5.0
HEARTBEAT_SECONDS = 10  # a peer that has gone without a word is noticed after three of these

# They log each try and each lost channel as an error of its own; the bus says once that it is away.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

OnOpen = Callable[[AbstractConnection], Awaitable[None]]
OnChange = Callable[[str | None], None]


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
            self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Close the connection and stay away."""
        self._opened.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def guard(self, channel: AbstractChannel) -> None:
        """Take the loss of this channel for the loss of the whole link: half a connection is hard to reason about."""
        channel.close_callbacks.add(self.lose)

    def spare(self, channel: AbstractChannel) -> None:
        """Let go of a guarded channel that is about to be closed on purpose."""
        channel.close_callbacks.discard(self.lose)

    def lose(self, _sender: object, error: BaseException | None) -> None:
        """Give the connection up and make a new one."""
        if not self._lost.is_set():
            self._reason = _in_words(error)
            self._opened.clear()
            self._lost.set()

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._hold()
                failures = 0
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                failures += 1  # aiormq fails pending calls of a connection that closes with this very error
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer is another try, and the log names it
                self._reason = _in_words(error)
                failures += 1
            self._on_change(self._reason)
            await asyncio.sleep(RECONNECT.wait(failures).total_seconds())

    async def _hold(self) -> None:
        """Connect and return when the connection is lost; raise where it could not be made."""
        self._reason = "closed while it was being opened"
        self._lost.clear()
        connection = await aio_pika.connect(
            self._url,
            timeout=OPEN_SECONDS,
            client_properties={"connection_name": self._name},
            connection_class=aio_pika.Connection,
        )
        try:
            connection.close_callbacks.add(self.lose)
            async with asyncio.timeout(OPEN_SECONDS):
                await self._on_open(connection)
            if not self._lost.is_set():
                self._opened.set()
                self._on_change(None)
            await self._lost.wait()
        finally:
            self._opened.clear()
            connection.close_callbacks.discard(self.lose)
            with suppress(Exception):  # it is given up either way
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()


def _in_words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error is not None else "closed"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
