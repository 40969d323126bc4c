"""Finding channels: those that ship and those that others add are found alike, by their entry points."""

import asyncio
from collections.abc import Callable
from importlib.metadata import entry_points

import structlog

from heliograph.channels import Channel, ChannelContext, ChannelFactory

_log = structlog.get_logger()

GROUP = "heliograph.channels"
PAUSE_SECONDS = 5.0  # before what failed beside a channel's sending is begun again


def open_channels(context_for: Callable[[str], ChannelContext]) -> dict[str, Channel]:
    """Return the channels that are installed and configured, by name.

    One that fails to load is left out and logged: the others go on. Of two with the same name, the one whose entry
    point comes first in the alphabet has it.
    """
    found: dict[str, Channel] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            factory: ChannelFactory = point.load()
            channel = factory(context_for(point.name))
        except Exception:  # noqa: BLE001 - what somebody else wrote may raise anything
            _log.exception("a channel cannot be opened", channel=point.name, source=point.value)
            continue
        if channel is None:
            continue
        if channel.name in found:
            _log.error("a channel of this name is open already", channel=channel.name, source=point.value)
            continue
        found[channel.name] = channel
    return found


async def keep_running(channel: Channel) -> None:
    """Do what a channel does besides sending, again where that fails: one channel's defect is not another's."""
    while True:
        try:
            await channel.run()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a channel failed beside its sending; it is begun again", channel=channel.name)
        else:
            _log.warning("a channel ended; it is begun again", channel=channel.name)
        await asyncio.sleep(PAUSE_SECONDS)
