"""The bus of one process: services that share it hear each other at once, and nothing outlives the process.

An event counts as confirmed when the handler of a durable subscriber has returned. Where that handler raises, takes
too long, or nobody subscribes, ``publish`` raises, so that the outbox keeps the event and tries again with its own
backoff; after ``topology.DELIVERY_LIMIT`` failed tries the event is laid aside for ``subscribe_dead``, and counts as
published.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from typing_extensions import override

from heliograph.bus import topology
from heliograph.bus.handling import REDELIVERY, Inbox, Running, call_safely, persist
from heliograph.bus.port import (
    Bus,
    BusUnavailableError,
    DeadEvent,
    DeadHandler,
    EventHandler,
    HintHandler,
    Subscription,
)
from heliograph.events.model import JobEvent

_log = structlog.get_logger(__name__)

CONFIRM_TIMEOUT = timedelta(seconds=10)  # as RabbitMQ's
DEAD_LIMIT = 1000  # events kept for who takes them later; each is also in the log


class MemoryBus(Bus):
    """A bus without a broker."""

    def __init__(self, *, confirm_timeout: timedelta = CONFIRM_TIMEOUT) -> None:
        self._confirm_timeout = confirm_timeout
        self._started = asyncio.Event()
        self._failures: dict[str, int] = {}  # failed tries by id of events that are not taken yet
        self._told: deque[_ToldSubscription] = deque()
        self._dead_letters: deque[DeadEvent] = deque(maxlen=DEAD_LIMIT)  # nobody has them in hand
        self._dead: deque[_DeadSubscription] = deque()
        self._feeds: list[_FeedSubscription] = []
        self._hints: defaultdict[str, deque[_SignalSubscription]] = defaultdict(deque)
        self._wishes: defaultdict[str, deque[_SignalSubscription]] = defaultdict(deque)

    @override
    async def start(self) -> None:
        self._started.set()

    @override
    async def close(self) -> None:
        self._started.clear()
        for subscription in (*self._told, *self._dead, *self._feeds):
            await subscription.close()
        self._hints.clear()
        self._wishes.clear()

    @property
    @override
    def is_connected(self) -> bool:
        return self._started.is_set()

    @override
    async def wait_connected(self) -> None:
        await self._started.wait()

    @override
    async def publish(self, event: JobEvent) -> None:
        if not self.is_connected:
            raise BusUnavailableError
        if event.id not in self._failures:  # a feed has seen an event that is tried again
            self._show(event)
        if not event.data.told:
            return
        failures = self._failures.setdefault(event.id, 0)
        subscription = _next(self._told)
        if subscription is None:
            raise BusUnavailableError("nobody takes told events yet")
        error = await subscription.hand_over(event, self._confirm_timeout)
        if error is None:
            self._failures.pop(event.id, None)
        elif failures + 1 < topology.DELIVERY_LIMIT:
            self._failures[event.id] = failures + 1
            raise BusUnavailableError("the subscriber could not take the event; it is told again") from error
        else:
            self._failures.pop(event.id, None)
            _log.error("a told event is laid aside", event_id=event.id, tries=failures + 1, error=repr(error))
            self._lay_aside(DeadEvent(event, repr(error), datetime.now(UTC)))

    @override
    async def subscribe_told(self, handler: EventHandler, *, prefetch: int = 32) -> Subscription:
        subscription = _ToldSubscription(handler, prefetch, self._told)
        self._told.append(subscription)
        return subscription

    @override
    async def subscribe_dead(self, handler: DeadHandler, *, prefetch: int = 32) -> Subscription:
        subscription = _DeadSubscription(handler, prefetch, self._dead, self._lay_aside, self._hand_out_dead)
        self._dead.append(subscription)
        self._hand_out_dead()
        return subscription

    @override
    async def subscribe_feed(self, handler: EventHandler, *, binding: str = "job.#") -> Subscription:
        subscription = _FeedSubscription(handler, binding, self._feeds)
        self._feeds.append(subscription)
        return subscription

    @override
    async def hint(self, backends: Iterable[str]) -> None:
        for backend in backends:
            if self.is_connected and (subscription := _next(self._hints[backend])) is not None:
                call_safely(subscription.handler, backend)

    @override
    async def subscribe_hints(self, backends: Iterable[str], handler: HintHandler) -> Subscription:
        return _SignalSubscription(handler, [self._hints[backend] for backend in backends])

    @override
    async def wish_cancel(self, worker: str, job: str) -> None:
        for subscription in tuple(self._wishes[worker]) if self.is_connected else ():
            if not subscription.is_paused:
                call_safely(subscription.handler, job)

    @override
    async def subscribe_wishes(self, worker: str, handler: HintHandler) -> Subscription:
        return _SignalSubscription(handler, [self._wishes[worker]])

    def _lay_aside(self, dead: DeadEvent) -> None:
        self._dead_letters.append(dead)
        self._hand_out_dead()

    def _hand_out_dead(self) -> None:
        while self._dead_letters and (subscription := _next(self._dead)) is not None:
            subscription.take(self._dead_letters.popleft())

    def _show(self, event: JobEvent) -> None:
        key = topology.routing_key(event)
        for feed in self._feeds:
            if not feed.is_paused and topology.is_match(feed.binding, key):
                feed.inbox.put(event)


class _MemorySubscription(Subscription):
    def __init__(self) -> None:
        self.is_paused = False

    @override
    async def pause(self) -> None:
        self.is_paused = True

    @override
    async def resume(self) -> None:
        self.is_paused = False


_Turn = TypeVar("_Turn", bound=_MemorySubscription)


class _ToldSubscription(_MemorySubscription):
    def __init__(self, handler: EventHandler, prefetch: int, among: "deque[_ToldSubscription]") -> None:
        super().__init__()
        self._handler = handler
        self._free = asyncio.Semaphore(prefetch)
        self._running = Running()
        self._among = among

    async def hand_over(self, event: JobEvent, longest: timedelta) -> Exception | None:
        """Have the event handled; return what went wrong. The handler goes on where its publisher has gone."""
        handling = self._running.spawn(self._handle(event))
        await asyncio.wait({handling}, timeout=longest.total_seconds())
        return handling.result() if handling.done() else TimeoutError("the handler has not returned yet")

    @override
    async def close(self) -> None:
        if self in self._among:
            self._among.remove(self)
        await self._running.finished()

    async def _handle(self, event: JobEvent) -> Exception | None:
        async with self._free:
            try:
                await self._handler(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the event has not been taken
                _log.warning("a told event was not taken", event_id=event.id, exc_info=error)
                return error
        return None


class _DeadSubscription(_MemorySubscription):
    def __init__(
        self, handler: DeadHandler, prefetch: int, among: "deque[_DeadSubscription]",
        give_back: Callable[[DeadEvent], None], on_resume: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._handler = handler
        self._free = asyncio.Semaphore(prefetch)
        self._running = Running()
        self._ending = asyncio.Event()
        self._among = among
        self._give_back = give_back
        self._on_resume = on_resume

    def take(self, dead: DeadEvent) -> None:
        """Begin to handle a dead letter."""
        self._running.spawn(self._handle(dead))

    @override
    async def resume(self) -> None:
        await super().resume()
        self._on_resume()

    @override
    async def close(self) -> None:
        if self in self._among:
            self._among.remove(self)
        self._ending.set()
        await self._running.finished()

    async def _handle(self, dead: DeadEvent) -> None:
        async with self._free:
            if not await persist(partial(self._handler, dead), REDELIVERY, self._ending):
                self._give_back(dead)


class _FeedSubscription(_MemorySubscription):
    def __init__(self, handler: EventHandler, binding: str, among: "list[_FeedSubscription]") -> None:
        super().__init__()
        self.binding = binding
        self.inbox = Inbox(handler)
        self._among = among

    @override
    async def close(self) -> None:
        if self in self._among:
            self._among.remove(self)
            await self.inbox.close()


class _SignalSubscription(_MemorySubscription):
    def __init__(self, handler: HintHandler, among: "list[deque[_SignalSubscription]]") -> None:
        super().__init__()
        self.handler = handler
        self._among = among
        for subscriptions in among:
            subscriptions.append(self)

    @override
    async def close(self) -> None:
        for subscriptions in self._among:
            if self in subscriptions:
                subscriptions.remove(self)


def _next(subscriptions: deque[_Turn]) -> _Turn | None:
    """Return the subscription whose turn it is; those who share something take turns."""
    for _ in range(len(subscriptions)):
        subscription = subscriptions[0]
        subscriptions.rotate(-1)
        if not subscription.is_paused:
            return subscription
    return None
