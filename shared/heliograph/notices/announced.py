"""What notifiers announce of themselves: over which channels they send, as whom, and how many get reports of problems.

So the api can say at once what would never arrive, and what holds where nobody states anything.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from heliograph.storage import Database
from heliograph.storage.errors import translated

CHANNELS = "notice_channels"
PERIOD_SECONDS = 60.0
SEEN_OF_LATE = timedelta(minutes=5)
_INCIDENTS = "incidents"
_OF_CHANNEL = "channel:"  # so that no channel's name is taken for the incidents


class AnnouncedChannels:
    """Keeps one document for each channel, and one for the reports of problems; the last notifier's word holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._announced = database.collection(CHANNELS)

    async def announce(
        self, channels: Mapping[str, str | None], *, incidents: int,
        defaults: Mapping[str, Mapping[str, bool | float]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Tell of channels, each with the account that it sends as where it has one.

        ``incidents`` is to how many recipients reports of problems go, ``defaults`` by channel what holds where nobody
        states anything.
        """
        for name, account in channels.items():
            fields = {"name": name, "account": account, "defaults": dict(defaults.get(name, {}))}
            await self._see(_OF_CHANNEL + name, fields)
        await self._see(_INCIDENTS, {"recipients": incidents})

    async def channels(self) -> dict[str, str | None]:
        """Return the channels announced of late, and the account of each."""
        return {document["name"]: document["account"] for document in await self._channels()}

    async def defaults(self) -> dict[str, dict[str, bool | float]]:
        """Return by channel announced of late what holds where nobody states anything, as far as it was told."""
        return {document["name"]: document.get("defaults", {}) for document in await self._channels()}

    async def _channels(self) -> list[dict[str, Any]]:
        with translated():
            return await self._announced.find(await self._of_late({"name": {"$exists": True}})).to_list(None)

    async def tells_incidents(self) -> bool | None:
        """Say whether somebody is told of reports of problems; None where no notifier has announced it of late."""
        with translated():
            found = await self._announced.find_one(await self._of_late({"_id": _INCIDENTS}))
        return None if found is None else found["recipients"] > 0

    async def _of_late(self, where: dict[str, Any]) -> dict[str, Any]:
        return where | {"seen_at": {"$gt": await self._database.now() - SEEN_OF_LATE}}

    async def _see(self, identifier: str, fields: dict[str, Any]) -> None:
        values = {name: {"$literal": value} for name, value in fields.items()}
        with translated():
            await self._announced.update_one(
                {"_id": identifier}, [{"$set": {**values, "seen_at": "$$NOW"}}], upsert=True
            )
