"""The bus: tells of what is already stored. Losing it delays news, and loses none."""

from urllib.parse import urlsplit

from heliograph.bus.port import Bus


def connect(url: str, *, name: str) -> Bus:
    """Return the bus that ``url`` names; it connects once it is started.

    Parameters
    ----------
    url
        ``amqp://`` or ``amqps://`` with host, user and virtual host, or ``memory://`` for services of one process.
    name
        What the broker's operators see of this process, such as ``worker@host``.

    Raises
    ------
    ValueError
        The scheme is none of these.
    """
    scheme = urlsplit(url).scheme
    if scheme in {"amqp", "amqps"}:
        from heliograph.bus.rabbitmq import RabbitBus  # noqa: PLC0415 - aio-pika is an optional extra

        return RabbitBus(url, name=name)
    if scheme == "memory":
        from heliograph.bus.memory import MemoryBus  # noqa: PLC0415 - only who runs in one process needs it

        return MemoryBus()
    raise ValueError(f"a bus is amqp://, amqps:// or memory://, not {scheme or 'without a scheme'}://")
