"""A notifier's word on what it has, so that the api promises nobody what would never arrive."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import structlog

from heliograph.channels import Channel
from heliograph.notices.announced import PERIOD_SECONDS, AnnouncedChannels
from heliograph.notices.model import Wish
from heliograph.storage import Database, StoreUnavailableError
from heliograph_notifier.recipients import Defaults

_log = structlog.get_logger()


class Announcing:
    """Announces the channels of one process, what holds there by default, and whom it reaches with reports."""

    def __init__(
        self, database: Database, channels: Iterable[Channel], incidents: Sequence[Wish],
        defaults: Mapping[str, Defaults],
    ) -> None:  # fmt: skip
        self._announced = AnnouncedChannels(database)
        self._channels = {channel.name: channel.account for channel in channels}
        self._defaults = {name: asdict(defaults.get(name) or Defaults()) for name in self._channels}
        self._incidents = sum(wish.channel in self._channels for wish in incidents)

    async def run(self) -> None:
        """Announce now and every minute until cancelled; an outage of the database pauses it."""
        while True:
            try:
                await self._announced.announce(self._channels, incidents=self._incidents, defaults=self._defaults)
            except StoreUnavailableError:
                _log.debug("announcing the channels waits for the database")
            except Exception:  # noqa: BLE001 - the api says less then, and nothing else may stop
                _log.exception("announcing the channels failed, goes on")
            await asyncio.sleep(PERIOD_SECONDS)
