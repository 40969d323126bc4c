"""The notifier as a whole: its parts made, started and stopped in order."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from heliograph.bus import connect
from heliograph.bus.port import Bus
from heliograph.health import HealthServer
from heliograph.jobs.store import JobStore
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.store import Ledger
from heliograph.storage import Database, Files, StoreUnavailableError
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.email import EmailChannel
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.planner import Planner
from heliograph_notifier.sender import Sender
from heliograph_notifier.settings import NotifierSettings

_log = structlog.get_logger()

DEADLINE_OF_LEASE = 2 / 3  # a whole send ends well before its lease does
LAST_SEND_SECONDS = 10.0  # how long a clean end waits for what is being sent
RETRY_SECONDS = 1.0


class Notifier:
    """Plans and sends notices in the running event loop.

    Makes its own connections unless it is given a database and a bus, which then stay their owner's.
    """

    def __init__(self, settings: NotifierSettings, database: Database | None = None, bus: Bus | None = None) -> None:
        self._settings = settings
        self._database = database
        self._bus = bus
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.health: HealthServer | None = None

    async def start(self) -> None:
        """Start; waits for the database as long as that takes. A broker that is away only delays the news."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Stop: first what comes in, then what is being sent, then the connections."""
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return when a part has ended, which none does by itself; raises what it ended with."""
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    async def _start(self) -> None:
        settings = self._settings
        database, bus = self._database, self._bus
        if database is None:
            database = await self._stack.enter_async_context(Database(settings.mongodb_url, settings.mongodb_database))
        if bus is None:
            name = f"notifier@{socket.gethostname()}:{os.getpid()}"
            bus = await self._stack.enter_async_context(connect(settings.bus_url, name=name))
        if settings.metrics_port is not None:
            self.health = await self._stack.enter_async_context(
                HealthServer(settings.metrics_host, settings.metrics_port, partial(readiness, database, bus))
            )
        await _prepare(database)
        lease = timedelta(seconds=settings.send_lease_seconds)
        ledger = Ledger(database, lease=lease)
        email = EmailChannel(
            Server.of(settings.smtp_url), Composer(settings.mail_from, settings.contact_email),
            Files(database, "artifacts"), connections=settings.smtp_connections,
        )  # fmt: skip
        self._stack.push_async_callback(email.close)
        sender = Sender(
            ledger, JobStore(database), {email.name: email}, public_url=settings.public_url, workers=settings.senders,
            deadline=lease * DEADLINE_OF_LEASE,
        )  # fmt: skip
        planner = Planner(database, ledger, settings.defaults, sender.wake)
        sending = self._spawn(sender.run(), "sender")
        self._stack.push_async_callback(_finish, sender, sending)
        sweeping = self._spawn(planner.run(), "planner")
        self._stack.push_async_callback(_cancel, sweeping)
        subscription = await bus.subscribe_told(planner.handle)
        self._stack.push_async_callback(subscription.close)
        _log.info("the notifier is at work", senders=settings.senders)

    def _spawn(self, coroutine: Any, name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)
        self._tasks.append(task)
        return task


async def run(settings: NotifierSettings) -> None:
    """Run a notifier until SIGTERM or SIGINT."""
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    notifier = Notifier(settings)
    stopping = asyncio.create_task(told_to_stop.wait(), name="signals")
    working = asyncio.create_task(_work(notifier), name="notifier")
    await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        await _cancel(working)
    else:
        working.result()


async def readiness(database: Database, bus: Bus) -> tuple[bool, Mapping[str, Any]]:
    """Say whether notices can go out. Without the broker they are late, which is no reason to be restarted."""
    parts = {
        "mongodb": "ok" if database.is_connected else "away",
        "bus": "ok" if bus.is_connected else "away",
    }
    whole = "away" if not database.is_connected else "ok" if bus.is_connected else "degraded"
    return database.is_connected, {"status": whole, **parts}


async def _work(notifier: Notifier) -> None:
    await notifier.start()
    try:
        await notifier.wait()
    finally:
        await notifier.stop()


async def _prepare(database: Database) -> None:
    """Wait for the database, which logs that it is awaited, and make the indexes."""
    while True:
        await database.wait_connected()
        try:
            await ensure_notice_indexes(database)
        except StoreUnavailableError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _finish(sender: Sender, sending: "asyncio.Task[None]") -> None:
    """Let the sender record what it is sending; what takes too long is found unknown by whoever comes next."""
    sender.stop()
    await asyncio.wait({sending}, timeout=LAST_SEND_SECONDS)
    await _cancel(sending)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
