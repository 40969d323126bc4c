"""What every service connects to, made in one way."""

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from heliograph import bus as buses
from heliograph.bus.port import Bus
from heliograph.settings import ServiceSettings
from heliograph.storage import Database, StoreUnavailableError


async def connect(
    stack: AsyncExitStack, settings: ServiceSettings, service: str, database: Database | None, bus: Bus | None
) -> tuple[Database, Bus]:
    """Return the database and the bus: those given, shared by services of one process, or new ones for ``stack``.

    Neither is waited for. ``service`` is what the broker's operators see, with this host and process.
    """
    if database is None:
        database = await stack.enter_async_context(Database(settings.mongodb_url, settings.mongodb_database))
    if bus is None:
        bus = buses.connect(settings.bus_url, name=f"{service}@{socket.gethostname()}:{os.getpid()}")
        await stack.enter_async_context(bus)
    return database, bus


async def prepare(database: Database, *ensure: Callable[[Database], Awaitable[None]]) -> None:
    """Wait for the database, however long it takes, and make what must be there first: some indexes are rules."""
    while True:
        await database.wait_connected()
        try:
            for each in ensure:
                await each(database)
        except StoreUnavailableError:
            continue
        return
