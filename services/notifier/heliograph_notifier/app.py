"""The notifier as a service: what it is made of, in which order it starts and stops."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import structlog

from heliograph.background import running
from heliograph.bus.port import Bus
from heliograph.channels import ChannelContext
from heliograph.connections import connect, prepare
from heliograph.health import HealthServer
from heliograph.ids import new_token
from heliograph.notices.bulletins import ensure_bulletin_indexes
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.linked import ensure_linked_indexes
from heliograph.notices.mutes import ensure_mute_indexes
from heliograph.notices.store import Ledger
from heliograph.notices.watches import ensure_watch_indexes
from heliograph.readiness import readiness
from heliograph.serving import Service
from heliograph.storage import Database, Files
from heliograph_notifier.announcing import Announcing
from heliograph_notifier.attempts import Matter
from heliograph_notifier.campaigns.store import CampaignStore, ensure_campaign_indexes
from heliograph_notifier.campaigns.teller import Teller
from heliograph_notifier.census import Census
from heliograph_notifier.channels.loading import in_service, open_channels
from heliograph_notifier.contacts.opening import open_contacts
from heliograph_notifier.describing.describer import Describer
from heliograph_notifier.gathering import Gathering
from heliograph_notifier.links import Links
from heliograph_notifier.planner import Planner
from heliograph_notifier.second_look import SecondLook
from heliograph_notifier.sender import Pace, Sender
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
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{new_token()[:8]}"
        self.health: HealthServer | None = None

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        database, bus = await connect(stack, settings, "notifier", self._database, self._bus)
        if settings.metrics_port is not None:
            ready = partial(readiness, database, bus)
            self.health = HealthServer(settings.metrics_host, settings.metrics_port, ready)
            await stack.enter_async_context(self.health)
        await prepare(
            database, ensure_notice_indexes, ensure_mute_indexes, ensure_watch_indexes, ensure_bulletin_indexes,
            ensure_linked_indexes, ensure_campaign_indexes,
        )  # fmt: skip
        lease = timedelta(seconds=settings.send_lease_seconds)
        ledger = Ledger(database, lease=lease, retention=settings.retention)
        channels = open_channels(partial(self._context, database, bus))
        for channel in channels.values():
            await stack.enter_async_context(in_service(channel))
        if not channels:
            _log.warning(
                "NO CHANNEL IS CONFIGURED: nobody is told of anything until one is, such as HELIOGRAPH_SMTP_URL"
            )
        describer = Describer(database, Links(settings.public_url, settings.link_keys), settings.site_name)
        matter = Matter(describer, SecondLook(database), settings.disclosures)
        pace = Pace(settings.senders, lease * DEADLINE_OF_LEASE)
        sender = Sender(ledger, matter, channels, pace)
        await stack.enter_async_context(_sending(sender))
        await stack.enter_async_context(running(Census(database).run()))
        announcing = Announcing(database, channels.values(), settings.incidents, settings.defaults)
        await stack.enter_async_context(running(announcing.run()))
        contacts = open_contacts(settings)
        if contacts is not None:
            stack.push_async_callback(contacts.close)
        gathering = Gathering(database, settings.defaults, settings.copies, contacts)
        campaigns = CampaignStore(database, settings.retention)
        planner = Planner(
            database, ledger, gathering, campaigns, sender.wake, incidents=settings.incidents, channels=channels.keys()
        )
        await stack.enter_async_context(running(planner.run()))
        teller = Teller(database, campaigns, ledger, settings.digest_terms, sender.wake)
        await stack.enter_async_context(running(teller.run()))
        subscription = await bus.subscribe_told(planner.handle)
        stack.push_async_callback(subscription.close)
        _log.info("notifier ready", senders=settings.senders, channels=sorted(channels))

    def _context(self, database: Database, bus: Bus, channel: str) -> ChannelContext:
        return ChannelContext(
            self._settings, self._settings.options(channel), database, Files(database, "artifacts"), bus, self._holder
        )


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
