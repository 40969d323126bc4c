"""The sender: a line for each channel that sends what is due, and what was lost on the way."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from heliograph.backoff import Backoff
from heliograph.channels import Channel
from heliograph.notices.model import Delivery, Policy
from heliograph.notices.store import Ledger
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.attempts import Attempts, Matter
from heliograph_notifier.line import Line
from heliograph_notifier.rest import Rest

_log = structlog.get_logger()

EXPIRE_SECONDS = 5.0
PAUSE_SECONDS = 1.0  # before a line that failed is begun again
NOTICE_BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=15))
CHANNEL_BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Pace:
    """How sending goes.

    ``workers`` send at the same time over each channel. ``deadline`` bounds one whole send and lies below the ledger's
    lease, so that whoever takes over an expired lease does not meet a sender that is still at it. ``backoff`` is how
    long one notice waits from try to try, ``channel_backoff`` how long a channel rests.
    """

    workers: int
    deadline: timedelta
    backoff: Backoff = NOTICE_BACKOFF
    channel_backoff: Backoff = CHANNEL_BACKOFF


class Sender:
    """Sends over several channels; none waits for another."""

    def __init__(self, ledger: Ledger, matter: Matter, channels: Mapping[str, Channel], pace: Pace) -> None:
        self._ledger = ledger
        self.channels = channels
        self._lines = [self._line(channel, matter, pace) for channel in channels.values()]

    def _line(self, channel: Channel, matter: Matter, pace: Pace) -> Line:
        rest = Rest(pace.channel_backoff)
        attempts = Attempts(
            self._ledger, channel, matter, rest, deadline=pace.deadline, backoff=pace.backoff
        )  # fmt: skip
        return Line(self._ledger, channel, attempts, rest, workers=pace.workers)

    def wake(self) -> None:
        """Say that something new waits to be sent."""
        for line in self._lines:
            line.wake()

    def stop(self) -> None:
        """Let ``run`` end once what is being sent is recorded."""
        for line in self._lines:
            line.stop()

    async def run(self) -> None:
        """Send until stopped; an outage of the database or of a channel pauses it."""
        expiring = asyncio.create_task(self._expire(), name="sender-expire")
        try:
            async with asyncio.TaskGroup() as group:
                for line in self._lines:
                    group.create_task(_keep(line))
        finally:
            expiring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await expiring

    def _policy(self, delivery: Delivery) -> Policy | None:
        """Return what to do about a delivery whose sender was lost; None where another notifier has its channel."""
        channel = self.channels.get(delivery.channel)
        return channel.after_unknown(delivery, None) if channel else None

    async def _expire(self) -> None:
        while True:
            try:
                if count := await self._ledger.expire(self._policy):
                    _log.warning("notices whose sender was lost", count=count)
                    self.wake()
            except StoreUnavailableError:
                _log.debug("lost senders wait for the database")
            except Exception:  # noqa: BLE001 - one notice that cannot be read must not keep all others as they are
                _log.exception("lost senders could not be looked for")
            await asyncio.sleep(EXPIRE_SECONDS)


async def _keep(line: Line) -> None:
    """Run a line until it is stopped, again where that fails: one channel's defect is not another's."""
    while not line.is_stopped:
        try:
            await line.run()
        except* Exception:  # noqa: BLE001 - what somebody else wrote may raise anything
            _log.exception("sending over a channel failed; it is begun again", channel=line.channel)
            await asyncio.sleep(PAUSE_SECONDS)
