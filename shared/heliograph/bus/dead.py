"""Dead letters as they are taken out of their queue: acknowledged when kept elsewhere, and held until they are."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from aiormq.abc import DeliveredMessage
from pydantic import ValidationError

from heliograph.backoff import Backoff
from heliograph.bus.handling import Running, persist
from heliograph.bus.port import DeadEvent, DeadHandler
from heliograph.bus.told import acknowledge, reject
from heliograph.events.model import JobEvent

_log = structlog.get_logger(__name__)


class DeadMessages:
    """Has the handler take each message, however often it fails.

    A message is not given back to be tried again: from RabbitMQ 4.0 on, every quorum queue counts returns, and drops
    what was returned 20 times where nothing lies behind it.
    """

    def __init__(self, handler: DeadHandler, redelivery: Backoff) -> None:
        self._handler = handler
        self._redelivery = redelivery
        self._running = Running()
        self._ending = asyncio.Event()

    def take(self, message: DeliveredMessage) -> None:
        """Begin to handle a message."""
        self._running.spawn(self._handle(message))

    async def finish(self) -> None:
        """Return once every message is acknowledged or, where its handler has failed so far, given back."""
        self._ending.set()
        await self._running.finished()

    async def _handle(self, message: DeliveredMessage) -> None:
        try:
            event = JobEvent.model_validate_json(message.body)
        except ValidationError as error:
            _log.error("a dead letter is not an event of ours and is dropped", error=str(error))
            await acknowledge(message)
            return
        reason, at = _death(message.header.properties.headers or {})
        if await persist(partial(self._handler, DeadEvent(event, reason, at)), self._redelivery, self._ending):
            await acknowledge(message)
        else:
            await reject(message, requeue=True)


def _death(headers: Mapping[str, Any]) -> tuple[str | None, datetime | None]:
    """Return why and when the broker laid a message aside, the last time first in its list."""
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else {}
    reason, at = last.get("reason"), last.get("time")
    return reason if isinstance(reason, str) else None, at if isinstance(at, datetime) else None
