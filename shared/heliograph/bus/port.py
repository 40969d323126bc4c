"""The port: what a bus does for the services. Two implementations pass one contract suite (tests/contract).

Events are at-least-once: ``publish`` returns when the bus has taken responsibility (a confirm; in process: every
durable subscriber's handler has returned). Hints and wishes are at-most-once: whoever needs them also looks in MongoDB.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from heliograph.errors import UnavailableError
from heliograph.events.model import JobEvent


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """A told event that was laid aside. Why, and when, is told where the bus knows."""

    event: JobEvent
    reason: str | None = None
    at: datetime | None = None


EventHandler = Callable[[JobEvent], Awaitable[None]]
DeadHandler = Callable[[DeadEvent], Awaitable[None]]
HintHandler = Callable[[str], None]


class BusUnavailableError(UnavailableError):
    """The bus is away; what is stored is told once it is back."""

    code = "bus-unavailable"


class Subscription(ABC):
    """A running subscription. Pausing stops deliveries (messages wait or, for hints, pass by); both are idempotent."""

    @abstractmethod
    async def pause(self) -> None:
        """Stop deliveries until ``resume``."""

    @abstractmethod
    async def resume(self) -> None:
        """Take deliveries again."""

    @abstractmethod
    async def close(self) -> None:
        """End the subscription; returns when no handler runs any more."""


class Bus(ABC):
    """Where events, hints and wishes go out and come in.

    An implementation connects in the background: ``start`` returns at once, also when the broker is away, and
    subscriptions made meanwhile begin when it comes.
    """

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @abstractmethod
    async def start(self) -> None:
        """Begin to connect; does not wait for the broker."""

    @abstractmethod
    async def close(self) -> None:
        """Close; an event being published is confirmed or its publisher gets ``BusUnavailableError``."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether an event published now is likely to be taken."""

    @abstractmethod
    async def wait_connected(self) -> None:
        """Return once connected."""

    @abstractmethod
    async def publish(self, event: JobEvent) -> None:
        """Publish an event under its routing key.

        Returns when confirmed. A *told* event that no durable queue takes is an error, a plain one is not. Events of
        concurrent calls are confirmed together; the calls of one caller that awaits each keep their order.

        Raises
        ------
        BusUnavailableError
            Not connected, not confirmed in time (whether it went out is unknown), or a told event was unroutable.
        """

    @abstractmethod
    async def subscribe_told(self, handler: EventHandler, *, prefetch: int = 32) -> Subscription:
        """Consume the durable queue of told events; several consumers share it.

        A handler that returns acknowledges the event. One that raises has it delivered again later, and after
        ``topology.DELIVERY_LIMIT`` tries the event lies in the dead-letter queue.
        """

    @abstractmethod
    async def subscribe_dead(self, handler: DeadHandler, *, prefetch: int = 32) -> Subscription:
        """Consume the told events that were laid aside; several consumers share them.

        A handler that returns takes the event out for good. One that raises is called again with it, as long as the
        subscription lasts: nothing lies behind the dead letters that could take it then.
        """

    @abstractmethod
    async def subscribe_feed(self, handler: EventHandler, *, binding: str = "job.#") -> Subscription:
        """Receive every event that matches ``binding`` (topic syntax) from now on; nothing is kept while away.

        ``on_reconnect`` style gaps are not told: who needs every event lists by ``updated_after``.
        """

    @abstractmethod
    async def hint(self, backends: Iterable[str]) -> None:
        """Tell idle workers that work for these backends lies ready. Never raises; lost while the bus is away."""

    @abstractmethod
    async def subscribe_hints(self, backends: Iterable[str], handler: HintHandler) -> Subscription:
        """Call ``handler(backend)`` for each hint; several workers of a backend share its hints."""

    @abstractmethod
    async def wish_cancel(self, worker: str, job: str) -> None:
        """Tell a worker that somebody wishes this job of its to stop. Never raises; lost while the bus is away."""

    @abstractmethod
    async def subscribe_wishes(self, worker: str, handler: HintHandler) -> Subscription:
        """Call ``handler(job)`` for each wish to cancel that is meant for this worker."""
