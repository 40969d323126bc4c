"""The census: what is still to be told, as metrics, counted by each notifier now and then."""

import asyncio

import structlog

from heliograph.notices.census import NoticeCensus, Reading
from heliograph.storage import Database, StoreUnavailableError
from heliograph_notifier.metrics import NOTICES_OPEN, OLDEST_DUE_SECONDS, UNTOLD

_log = structlog.get_logger()

PERIOD_SECONDS = 15.0


class Census:
    """Counts, and shows what it counted."""

    def __init__(self, database: Database) -> None:
        self._census = NoticeCensus(database)

    async def run(self) -> None:
        """Count until cancelled; an outage of the database pauses it."""
        while True:
            await self.take()
            await asyncio.sleep(PERIOD_SECONDS)

    async def take(self) -> None:
        """Count once; what the database does not tell keeps its last value."""
        try:
            _show(await self._census.take())
        except StoreUnavailableError:
            _log.debug("the census waits for the database")
        except Exception:  # noqa: BLE001 - metrics stand still then, and nothing else may
            _log.exception("the census failed, goes on")


def _show(reading: Reading) -> None:
    UNTOLD.set(reading.untold)
    NOTICES_OPEN.clear()
    OLDEST_DUE_SECONDS.clear()
    for channel, waiting in reading.waiting.items():
        age = (reading.at - waiting.due_since).total_seconds() if waiting.due_since else 0.0
        NOTICES_OPEN.labels(channel).set(waiting.notices)
        OLDEST_DUE_SECONDS.labels(channel).set(age)
