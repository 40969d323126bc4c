"""The sender: leases due deliveries, sends them, and records what became of them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog

from heliograph import faults
from heliograph.backoff import Backoff
from heliograph.errors import NotFoundError
from heliograph.jobs.store import JobStore
from heliograph.notices.model import Outcome
from heliograph.notices.store import Leased, Ledger
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.port import Channel, OutcomeUnknown, Refused, TryLater
from heliograph_notifier.metrics import NOTICES, SEND_SECONDS
from heliograph_notifier.notice import describe
from heliograph_notifier.rest import Rest

_log = structlog.get_logger()

POLL_SECONDS = 1.0  # what another process planned, and what has become due, is seen after this
EXPIRE_SECONDS = 5.0
PAUSE_SECONDS = 0.5  # while the database is away
NOTICE_BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=15))
CHANNEL_BACKOFF = Backoff(timedelta(seconds=5), timedelta(minutes=1))


class Sender:
    """Sends with several workers; each takes one delivery at a time.

    ``deadline`` bounds one whole send and lies below the ledger's lease, so that whoever takes over an expired lease
    does not meet a sender that is still at it.
    """

    def __init__(
        self, ledger: Ledger, jobs: JobStore, channels: Mapping[str, Channel], *, public_url: str, workers: int,
        deadline: timedelta, backoff: Backoff = NOTICE_BACKOFF, channel_backoff: Backoff = CHANNEL_BACKOFF,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._jobs = jobs
        self._channels = channels
        self._public_url = public_url
        self._workers = workers
        self._deadline = deadline.total_seconds()
        self._backoff = backoff
        self._rests = {name: Rest(channel_backoff) for name in channels}
        self._wake = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Say that something new waits to be sent."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` end once what is being sent is recorded."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Send until stopped; an outage of the database or of a channel pauses it."""
        expiring = asyncio.create_task(self._expire(), name="sender-expire")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"sender-{number}")
        finally:
            expiring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await expiring

    async def _work(self) -> None:
        while not self._is_stopping:
            try:
                leased = await self._ledger.lease(name for name, rest in self._rests.items() if rest.is_over)
            except StoreUnavailableError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if leased:
                await self.send(leased)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            if not self._is_stopping:
                self._wake.clear()

    async def send(self, leased: Leased) -> None:
        """Send one leased delivery and record the outcome."""
        faults.reach(faults.Point.SENDING_NOT_SENT)
        channel, started = leased.delivery.channel, time.monotonic()
        outcome, record = await self._try(leased)
        SEND_SECONDS.labels(channel).observe(time.monotonic() - started)
        NOTICES.labels(channel, outcome.value).inc()
        if not await _insist(record):
            _log.warning("a notice was recorded by somebody else", notice=leased.delivery.id, outcome=outcome)

    async def _try(self, leased: Leased) -> tuple[Outcome, Callable[[], Awaitable[bool]]]:
        """Send, and return what became of it with the write that records it."""
        delivery, ledger, tries = leased.delivery, self._ledger, leased.tries
        rest, channel = self._rests[delivery.channel], self._channels[delivery.channel]
        log = _log.bind(notice=delivery.id, job=delivery.job, channel=delivery.channel)
        try:
            async with asyncio.timeout(self._deadline):
                job = await self._jobs.with_history(delivery.job)
                receipt = await channel.send(describe(job, delivery, self._public_url), delivery)
        except (Refused, NotFoundError) as refused:
            reply = refused.reply if isinstance(refused, Refused) else "the job is no longer kept"
            log.warning("a notice was refused", reply=reply)
            return Outcome.REFUSED, lambda: ledger.refused(leased, reply)
        except TryLater as later:
            # A channel that rests says when to return; only a message that is itself put off waits ever longer.
            wait, reply = rest.begin() if later.slow_channel else self._backoff.wait(tries + 1), later.reply
            log.info("a notice has to wait", reply=reply, seconds=round(wait.total_seconds(), 1))
            return Outcome.TRY_LATER, lambda: ledger.postpone(leased, wait, reply)
        except (OutcomeUnknown, TimeoutError) as unknown:
            wait = self._backoff.wait(tries + 1)
            reply = unknown.reply if isinstance(unknown, OutcomeUnknown) else "no answer in time"
            log.warning("whether a notice arrived is unknown", reply=reply, policy=channel.policy)
            return Outcome.UNKNOWN, lambda: ledger.unknown(leased, channel.policy, wait, reply)
        except Exception as error:
            wait, reply = self._backoff.wait(tries + 1), f"{type(error).__name__} in the notifier"
            log.exception("a notice could not be made")  # the next ones may be fine; this one ends with its age
            return Outcome.TRY_LATER, lambda: ledger.postpone(leased, wait, reply)
        faults.reach(faults.Point.SENT_NOT_RECORDED)
        rest.end()
        log.info("a notice is sent", occasion=delivery.occasion)
        return Outcome.SENT, lambda: ledger.sent(leased, receipt)

    async def _expire(self) -> None:
        policies = {name: channel.policy for name, channel in self._channels.items()}
        while True:
            try:
                if count := await self._ledger.expire(policies):
                    _log.warning("notices whose sender was lost", count=count)
                    self.wake()
            except StoreUnavailableError:
                _log.debug("lost senders wait for the database")
            except Exception:  # noqa: BLE001 - one notice that cannot be read must not keep all others as they are
                _log.exception("lost senders could not be looked for")
            await asyncio.sleep(EXPIRE_SECONDS)


async def _insist(record: Callable[[], Awaitable[bool]]) -> bool:
    """Write until the database takes it: what was sent and is not recorded would be sent again."""
    while True:
        try:
            return await record()
        except StoreUnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)
