"""The topology as data: every exchange, queue and binding by name, and how an event finds its way.

``describe`` prints it for the command line and the documents; ``rabbitmq`` declares it.
"""

import re
from dataclasses import dataclass, replace
from hashlib import sha256

from heliograph.events.model import JobEvent

EVENTS_EXCHANGE = "heliograph.events"
HINTS_EXCHANGE = "heliograph.hints"
WISHES_EXCHANGE = "heliograph.wishes"
DEAD_EXCHANGE = "heliograph.dead"
TOLD_QUEUE = "heliograph.notifier"
DEAD_QUEUE = "heliograph.dead"
TOLD_BINDING = "job.*.*.told"
DELIVERY_LIMIT = 10  # tries of a told event before it is laid aside; the ledger's own sweep finds the job anyway
HINT_LIFE_MILLISECONDS = 60_000  # an older hint says nothing that the worker's own look has not shown

_WORD = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, bound to ``exchange`` by ``binding``: durable, or ``passing`` where it is one consumer's alone.

    A passing queue has no name of its own (the broker gives one) and goes with its consumer's connection.
    ``tries`` counts deliveries, the first among them.
    """

    name: str
    exchange: str
    binding: str
    purpose: str
    quorum: bool = False
    passing: bool = False
    dead_letters_to: str | None = None
    tries: int | None = None
    message_life_milliseconds: int | None = None


EXCHANGES = (
    Exchange(EVENTS_EXCHANGE, "topic", "every event, as job.<state>.<queue>.<told|plain>"),
    Exchange(HINTS_EXCHANGE, "direct", "hints that work lies ready, by backend"),
    Exchange(WISHES_EXCHANGE, "direct", "wishes to cancel, by worker"),
    Exchange(DEAD_EXCHANGE, "fanout", "told events that no notifier could take"),
)
QUEUES = (
    Queue(
        TOLD_QUEUE, EVENTS_EXCHANGE, TOLD_BINDING, "told events, for the notifiers",
        quorum=True, dead_letters_to=DEAD_EXCHANGE, tries=DELIVERY_LIMIT,
    ),
    Queue(DEAD_QUEUE, DEAD_EXCHANGE, "", "told events laid aside", quorum=True),
)  # fmt: skip


def named(name: str) -> Queue:
    """Return one of the durable queues that are there from the start."""
    return next(queue for queue in QUEUES if queue.name == name)


def hint_queue(backend: str) -> Queue:
    """Return the queue that keeps a backend's hints for the next idle worker."""
    return Queue(
        f"heliograph.hints.{word(backend)}", HINTS_EXCHANGE, word(backend), f"hints for workers of {backend}",
        message_life_milliseconds=HINT_LIFE_MILLISECONDS,
    )  # fmt: skip


def feed_queue(binding: str) -> Queue:
    """Return the queue of one live view: what matches ``binding`` while somebody looks."""
    return Queue("", EVENTS_EXCHANGE, binding, "a live view's events, while it looks", passing=True)


def wish_queue(worker: str) -> Queue:
    """Return the queue of a worker's wishes to cancel, while it lives."""
    return Queue("", WISHES_EXCHANGE, worker, f"wishes to cancel, for {worker}", passing=True)


def word(queue: str) -> str:
    """Return a queue's word in a routing key: its name where that is one word, else a hash of it."""
    return queue if _WORD.fullmatch(queue) else "q-" + sha256(queue.encode()).hexdigest()[:32]


def routing_key(event: JobEvent) -> str:
    """Return ``job.<state or progress>.<queue>.<told|plain>``."""
    return f"job.{event.word}.{word(event.data.queue)}.{'told' if event.data.told else 'plain'}"


def is_match(binding: str, key: str) -> bool:
    """Say whether a topic binding takes a routing key: ``*`` is one word, ``#`` any number of them, also none."""
    return _matches(binding.split("."), key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(_matches(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and first in {"*", words[0]} and _matches(rest, words[1:])


def describe() -> str:
    """Return the topology as text, a line for each part."""
    exchanges = [f"exchange  {exchange.name} ({exchange.kind}): {exchange.purpose}" for exchange in EXCHANGES]
    hints = replace(
        hint_queue("any"), name="heliograph.hints.<backend>", binding="<backend>", purpose="hints for workers"
    )
    queues = [
        f"queue     {queue.name or '(one for each)'} <- {queue.exchange} [{queue.binding or '*'}]: {queue.purpose}"
        for queue in (*QUEUES, hints, feed_queue("job.#"), wish_queue("<worker>"))
    ]
    return "\n".join([*exchanges, *queues])
