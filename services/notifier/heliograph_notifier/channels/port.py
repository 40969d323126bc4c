"""The port: what a channel does for the sender."""

from typing import Protocol

from heliograph.notices.model import Delivery, Policy
from heliograph_notifier.notice import Notice


class SendError(Exception):
    """The notice did not certainly go out; ``reply`` is the server's own word, or what kept us from getting one."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        super().__init__(reply)


class Refused(SendError):  # noqa: N818 - read as the answer that it is
    """The server will never take this notice."""


class TryLater(SendError):  # noqa: N818 - read as the answer that it is
    """Nothing went out, and a later try may succeed; ``slow_channel`` where the whole channel should rest first."""

    def __init__(self, reply: str, *, slow_channel: bool = False) -> None:
        super().__init__(reply)
        self.slow_channel = slow_channel


class OutcomeUnknown(SendError):  # noqa: N818 - read as the answer that it is
    """The notice was handed over, and no answer came: it may or may not have arrived."""


class Channel(Protocol):
    """A way to reach people; it keeps its own connections and closes them."""

    name: str
    policy: Policy  # what happens to a delivery of unknown outcome

    async def send(self, notice: Notice, delivery: Delivery) -> str:
        """Send one notice to one recipient and return the server's receipt.

        The same delivery sent again is recognisable as the same message. Cancelled from outside, it leaves no
        half-used connection behind.

        Raises
        ------
        Refused, TryLater, OutcomeUnknown
            As their names say.
        """
        ...

    async def close(self) -> None:
        """Close what it keeps open."""
        ...
