"""The topology, declared at a broker; each declaration says what is there already or makes it."""

from typing import Any

from aio_pika.abc import AbstractChannel

from heliograph.bus.topology import EXCHANGES, QUEUES, Queue

TIMEOUT_SECONDS = 10.0  # a broker that takes longer to answer is not there


async def declare_topology(channel: AbstractChannel) -> None:
    """Declare every exchange and every queue that has a name, so that whoever comes first finds a whole bus."""
    for exchange in EXCHANGES:
        await channel.declare_exchange(exchange.name, exchange.kind, durable=True, timeout=TIMEOUT_SECONDS)
    for queue in QUEUES:
        await declare_queue(channel, queue)


async def declare_queue(channel: AbstractChannel, queue: Queue) -> str:
    """Declare and bind a queue; return its name, which the broker gives to a passing one."""
    declared = await channel.declare_queue(
        queue.name or None,
        durable=not queue.passing,
        exclusive=queue.passing,
        auto_delete=queue.passing,
        arguments=_arguments(queue),
        timeout=TIMEOUT_SECONDS,
    )
    await declared.bind(queue.exchange, queue.binding, timeout=TIMEOUT_SECONDS)
    return declared.name


def _arguments(queue: Queue) -> dict[str, Any]:
    wanted = {
        "x-queue-type": "quorum" if queue.quorum else None,
        "x-dead-letter-exchange": queue.dead_letters_to,
        # the broker counts returns: an event that was returned more often than this is laid aside
        "x-delivery-limit": queue.tries - 1 if queue.tries is not None else None,
        "x-message-ttl": queue.message_life_milliseconds,
    }
    return {name: value for name, value in wanted.items() if value is not None}
