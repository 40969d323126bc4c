"""Finding channels, and keeping them: those that ship and those that others add are treated alike.

What somebody else wrote may raise anything, and may hang. One channel's defect is never another's.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, entry_points

import structlog

from heliograph.channels import Channel, ChannelContext, ChannelFactory

_log = structlog.get_logger()

GROUP = "heliograph.channels"
PAUSE_SECONDS = 5.0  # before what failed beside a channel's sending is begun again
END_SECONDS = 5.0  # so long a channel may take to end what it does, and again to close
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")  # as in a submission


def open_channels(context_for: Callable[[str], ChannelContext]) -> dict[str, Channel]:
    """Return the channels that are installed and configured, by name.

    One that fails to load is left out and logged: the others go on. Of two with the same name, the one whose entry
    point comes first in the alphabet has it.
    """
    found: dict[str, Channel] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            channel = _open(point, context_for(point.name))
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a channel cannot be opened", channel=point.name, source=point.value)
            continue
        if channel is None:
            continue
        if channel.name in found:
            _log.error("a channel of this name is open already", channel=channel.name, source=point.value)
            continue
        found[channel.name] = channel
    return found


def _open(point: EntryPoint, context: ChannelContext) -> Channel | None:
    factory: ChannelFactory = point.load()
    channel = factory(context)
    if channel is None:
        return None
    name = getattr(channel, "name", None)
    if not isinstance(channel, Channel) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TypeError(f"{point.value} returned no channel with a name of small letters, digits, _ and -")
    return channel


@asynccontextmanager
async def in_service(channel: Channel) -> AsyncIterator[None]:
    """Do beside the block what a channel does besides sending; on the way out end that, and close the channel."""
    task = asyncio.create_task(_keep_running(channel), name=f"channel-{channel.name}")
    try:
        yield
    finally:
        task.cancel()
        _, hanging = await asyncio.wait({task}, timeout=END_SECONDS)
        if hanging:
            _log.error("a channel does not end what it does", channel=channel.name)
        try:
            async with asyncio.timeout(END_SECONDS):
                await channel.close()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a channel could not be closed", channel=channel.name)


async def _keep_running(channel: Channel) -> None:
    while True:
        try:
            await channel.run()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a channel failed beside its sending; it is begun again", channel=channel.name)
        else:
            _log.warning("a channel ended; it is begun again", channel=channel.name)
        await asyncio.sleep(PAUSE_SECONDS)
