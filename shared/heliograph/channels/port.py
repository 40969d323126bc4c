"""The port: what a channel does for the sender, and what it is given."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heliograph.bus.port import Bus
from heliograph.channels.notice import Notice
from heliograph.notices.model import Delivery, Policy
from heliograph.storage import Database, Files

MOST_SECONDS = 3600.0  # of patience that a server can ask for


class SendError(Exception):
    """The notice did not certainly go out; ``reply`` is the server's own word, or what kept us from getting one."""

    def __init__(self, reply: str) -> None:
        self.reply = str(reply)
        super().__init__(self.reply)


class Refused(SendError):  # noqa: N818 - read as the answer that it is
    """The server will never take this notice."""


class TryLater(SendError):  # noqa: N818 - read as the answer that it is
    """Nothing went out, and a later try may succeed.

    ``slow_channel`` where the whole channel should rest first; ``after_seconds`` where the server said for how long,
    which counts for an hour at most.
    """

    def __init__(self, reply: str, *, slow_channel: bool = False, after_seconds: float | None = None) -> None:
        super().__init__(reply)
        self.slow_channel = slow_channel
        asked = after_seconds if after_seconds is not None and math.isfinite(after_seconds) else None
        self.after_seconds = None if asked is None else min(max(asked, 0.0), MOST_SECONDS)


class OutcomeUnknown(SendError):  # noqa: N818 - read as the answer that it is
    """The notice was handed over, and no answer came: it may or may not have arrived."""


class CancelledUnsentError(asyncio.CancelledError):
    """Cancelled while certainly nothing had gone out: the same notice may be sent later, and none is a copy."""


class Channel(ABC):
    """A way to reach people; it keeps its own connections.

    ``name`` is what wishes and the ledger call it.
    """

    name: str

    @property
    def account(self) -> str | None:
        """As whom it sends, where its readers have to know that: whom to invite, say."""
        return None

    @property
    def is_open(self) -> bool:
        """Whether this process may send over it now; where one process has it at a time, the others leave it alone."""
        return True

    async def run(self) -> None:
        """Do what has to be done besides sending, until cancelled; by default nothing."""
        await asyncio.Event().wait()

    async def is_private(self, recipient: str) -> bool:  # noqa: ARG002 - what others look at
        """Say whether what is sent to a recipient is encrypted all the way to them.

        What is not certain is not private. ``TryLater`` where it cannot be told now.
        """
        return False

    def after_unknown(self, delivery: Delivery, backend: str | None) -> Policy:  # noqa: ARG002 - what others look at
        """Say what happens to a delivery whose outcome is unknown; ``backend`` did the job that it is about."""
        return Policy.AT_LEAST_ONCE

    @abstractmethod
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        """Send one notice to one recipient and return the server's receipt.

        The same delivery sent again is recognisable as the same message. Cancelled from outside, it leaves no
        half-used connection behind. That happens when it takes too long: the outcome is unknown then, unless it says
        by ``CancelledUnsentError`` that it is not.

        Raises
        ------
        Refused, TryLater, OutcomeUnknown, CancelledUnsentError
            As their names say.
        """

    async def close(self) -> None:  # noqa: B027 - most keep nothing open
        """Close what it keeps open."""


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """What a channel is made of.

    ``settings`` are the notifier's own. ``options`` are the settings of this channel by their names in lower case:
    ``HELIOGRAPH_CHANNEL_APPRISE_URL`` is ``url`` of the channel ``apprise``. ``pictures`` reads the files of jobs.
    ``holder`` is what this process calls itself where one at a time may do something.
    """

    settings: Any
    options: Mapping[str, str]
    database: Database
    pictures: Files
    bus: Bus
    holder: str


ChannelFactory = Callable[[ChannelContext], Channel | None]
