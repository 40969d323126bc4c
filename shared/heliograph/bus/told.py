"""Told events as a notifier takes them: acknowledged when handled, given back when not."""

import asyncio
from contextlib import suppress

import structlog
from aiormq.abc import DeliveredMessage
from pydantic import ValidationError

from heliograph.backoff import Backoff
from heliograph.bus.handling import Running
from heliograph.bus.link import LinkLostError, losses
from heliograph.bus.port import EventHandler
from heliograph.events.model import JobEvent

_log = structlog.get_logger(__name__)


class ToldMessages:
    """Has the handler take each message, and tells the broker what became of it.

    A failed event is held back for a while before it is given back, since the broker would deliver it again at once
    and have used up its tries within a second of the handler's trouble.
    """

    def __init__(self, handler: EventHandler, redelivery: Backoff) -> None:
        self._handler = handler
        self._redelivery = redelivery
        self._running = Running()
        self._is_finishing = asyncio.Event()

    def take(self, message: DeliveredMessage) -> None:
        """Begin to handle a message."""
        self._running.spawn(self._handle(message))

    async def finish(self) -> None:
        """Return once every message is acknowledged or given back; what was held back is given back now."""
        self._is_finishing.set()
        await self._running.finished()

    async def _handle(self, message: DeliveredMessage) -> None:
        try:
            event = JobEvent.model_validate_json(message.body)
        except ValidationError as error:
            _log.error("a message is not an event of ours and is laid aside", error=str(error))
            await reject(message, requeue=False)
            return
        try:
            await self._handler(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the event has not been taken
            _log.warning("a told event was not taken", event_id=event.id, exc_info=error)
            await self._hold_back(message)
            await reject(message, requeue=True)
        else:
            await acknowledge(message)

    async def _hold_back(self, message: DeliveredMessage) -> None:
        earlier = (message.header.properties.headers or {}).get("x-delivery-count", 0)
        wait = self._redelivery.wait(1 + (earlier if isinstance(earlier, int) else 0))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait.total_seconds()):
                await self._is_finishing.wait()


async def acknowledge(message: DeliveredMessage) -> None:
    """Tell the broker that a message was taken."""
    with suppress(LinkLostError), losses():  # the broker delivers again what it was not told of
        await message.channel.basic_ack(_tag(message), wait=False)


async def reject(message: DeliveredMessage, *, requeue: bool) -> None:
    """Give a message back: to its queue, or to where that queue lays messages aside."""
    # from RabbitMQ 4.3 on a nack is no failed try and would come back for ever
    with suppress(LinkLostError), losses():
        await message.channel.basic_reject(_tag(message), requeue=requeue, wait=False)


def _tag(message: DeliveredMessage) -> int:
    tag = message.delivery_tag
    assert tag is not None, "what a consumer is delivered has a tag"
    return tag
