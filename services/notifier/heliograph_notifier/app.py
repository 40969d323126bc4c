"""The notifier as a service: what it is made of, in which order it starts and stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import structlog

from heliograph.background import running
from heliograph.bus.port import Bus
from heliograph.connections import connect, prepare
from heliograph.health import HealthServer
from heliograph.jobs.store import JobStore
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.store import Ledger
from heliograph.readiness import readiness
from heliograph.serving import Service
from heliograph.storage import Database, Files
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.email import EmailChannel
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.planner import Planner
from heliograph_notifier.sender import Sender
from heliograph_notifier.settings import NotifierSettings

_log = structlog.get_logger()

DEADLINE_OF_LEASE = 2 / 3  # a whole send ends well before its lease does
LAST_SEND_SECONDS = 10.0  # how long a clean end waits for what is being sent


class Notifier(Service):
    """Plans and sends notices; an asynchronous context manager that starts and stops it.

    ``database`` and ``bus`` are shared where several services live in one process; by default it makes its own. It
    waits for the database as long as that takes; a broker that is away only delays the news.
    """

    def __init__(
        self, settings: NotifierSettings, *, database: Database | None = None, bus: Bus | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self._settings = settings
        self._database = database
        self._bus = bus
        self.health: HealthServer | None = None

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        database, bus = await connect(stack, settings, "notifier", self._database, self._bus)
        if settings.metrics_port is not None:
            ready = partial(readiness, database, bus)
            self.health = HealthServer(settings.metrics_host, settings.metrics_port, ready)
            await stack.enter_async_context(self.health)
        await prepare(database, ensure_notice_indexes)
        lease = timedelta(seconds=settings.send_lease_seconds)
        ledger = Ledger(database, lease=lease)
        email = EmailChannel(
            Server.of(settings.smtp_url),
            Composer(settings.mail_from, settings.contact_email),
            Files(database, "artifacts"),
            connections=settings.smtp_connections,
        )
        stack.push_async_callback(email.close)
        sender = Sender(
            ledger,
            JobStore(database),
            {email.name: email},
            public_url=settings.public_url,
            workers=settings.senders,
            deadline=lease * DEADLINE_OF_LEASE,
        )
        await stack.enter_async_context(_sending(sender))
        planner = Planner(database, ledger, settings.defaults, sender.wake)
        await stack.enter_async_context(running(planner.run()))
        subscription = await bus.subscribe_told(planner.handle)
        stack.push_async_callback(subscription.close)
        _log.info("notifier ready", senders=settings.senders)


@contextlib.asynccontextmanager
async def _sending(sender: Sender) -> AsyncIterator[None]:
    """Run the sender; on the way out it gets a while to record what it is sending.

    What takes longer is found ``unknown`` by whoever comes next.
    """
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await sender.run()
        finally:
            ended.set()

    async with running(run()):
        try:
            yield
        finally:
            sender.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SEND_SECONDS):
                    await ended.wait()
