"""One attempt at a delivery: it is described as far as it may be said, and sent; the ledger is told what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from heliograph import faults
from heliograph.backoff import Backoff
from heliograph.channels import CancelledUnsentError, Channel, Notice, OutcomeUnknown, Refused, TryLater
from heliograph.errors import NotFoundError
from heliograph.notices.model import Delivery, DeliveryStatus, Outcome, Policy
from heliograph.notices.store import Leased, Ledger
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.describing.describer import Describer, Read
from heliograph_notifier.disclosure import Disclosure, allowed, disclosed
from heliograph_notifier.metrics import NOTICES, SEND_SECONDS
from heliograph_notifier.rest import Rest
from heliograph_notifier.second_look import PutOff, SecondLook, Seen, Silenced

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Matter:
    """What decides what is sent: who describes, whether it is still wanted, how much may be said over which channel."""

    describer: Describer
    second_look: SecondLook
    disclosures: Mapping[str, Disclosure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What was read for several attempts at once: what is to be said, and whether it is still wanted."""

    read: Read = field(default_factory=Read)
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended, and the write that records it, which says whether the lease still held."""

    outcome: str
    record: Callable[[], Awaitable[bool]]


class Attempts:
    """Makes attempts over one channel. ``deadline`` bounds a whole one; ``backoff`` is how long a notice waits then."""

    def __init__(
        self, ledger: Ledger, channel: Channel, matter: Matter, rest: Rest, *, deadline: timedelta, backoff: Backoff
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._matter = matter
        self._rest = rest
        self._deadline = deadline.total_seconds()
        self._backoff = backoff

    def fits(self, leased: Leased) -> bool:
        """Say whether an attempt that begins now is over before its lease is."""
        return time.monotonic() + self._deadline <= leased.until

    async def read(self, several: Sequence[Leased]) -> Known:
        """Read at once what several need; what cannot be read now is read when its turn comes."""
        read, seen = await asyncio.gather(
            self._matter.describer.read([leased.delivery for leased in several]),
            self._matter.second_look.see(several),
            return_exceptions=True,
        )
        # Read alone, what is at fault raises it again, and the others go out.
        return Known(
            Read() if isinstance(read, BaseException) else read, None if isinstance(seen, BaseException) else seen
        )

    async def make(self, leased: Leased, known: Known) -> Ended:
        """Try one leased delivery. Nothing is raised: whatever happens is an outcome."""
        notice: Notice | None = None
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._deadline):
                if kept := await self._matter.second_look.look(leased, known.seen):
                    ended = self._kept(leased, kept)
                else:
                    notice = await self._notice(leased.delivery, known.read)
                    ended = self._sent(leased, await self._channel.send(notice, leased.delivery))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            ended = self._failed(leased, error, notice)  # it came from within the channel, and nobody else is to end
        except Exception as error:  # noqa: BLE001 - what is none of the expected ones is logged in full
            ended = self._failed(leased, error, notice)
        SEND_SECONDS.labels(self._channel.name).observe(time.monotonic() - began)
        NOTICES.labels(self._channel.name, ended.outcome).inc()
        return ended

    async def _notice(self, delivery: Delivery, read: Read) -> Notice:
        """Return what may be said of a delivery."""
        notice = await self._matter.describer.describe(delivery, read)
        how = allowed(
            self._matter.disclosures,
            self._channel.name,
            is_private=await self._channel.is_private(delivery.recipient),
            is_confidential=notice.is_confidential,
        )
        return disclosed(notice, how)

    def _sent(self, leased: Leased, receipt: str) -> Ended:
        faults.reach(faults.Point.SENT_NOT_RECORDED)
        self._rest.end()
        _logger(leased).info("a notice is sent", occasion=leased.delivery.occasion)
        return Ended(Outcome.SENT, partial(self._ledger.sent, leased, str(receipt)))

    def _kept(self, leased: Leased, kept: Silenced | PutOff) -> Ended:
        if isinstance(kept, PutOff):
            _logger(leased).info("a notice waits for the end of quiet time", until=kept.until.isoformat())
            return Ended(DeliveryStatus.PLANNED, partial(self._ledger.put_off, leased, kept.until))
        _logger(leased).info("a notice is muted by now", reason=kept.reason)
        return Ended(DeliveryStatus.SUPPRESSED, partial(self._ledger.suppress, leased, kept.reason))

    def _failed(self, leased: Leased, error: BaseException, notice: Notice | None) -> Ended:
        """Judge what went wrong; before there is a notice, certainly nothing went out."""
        if isinstance(error.__cause__, CancelledUnsentError):  # what a deadline makes of it from Python 3.12 on
            error = error.__cause__
        match error:
            case Refused():
                return self._refused(leased, error.reply)
            case NotFoundError():
                return self._refused(leased, "what it is about is no longer kept")
            case TryLater():
                return self._postponed(leased, self._wait(error, leased.tries), error.reply)
            case OutcomeUnknown():
                return self._unknown(leased, error.reply, notice)
            case TimeoutError() if notice is not None:
                return self._unknown(leased, "no answer in time", notice)
        return self._postponed(leased, self._backoff.wait(leased.tries + 1), _fault(leased, error))

    def _refused(self, leased: Leased, reply: str) -> Ended:
        _logger(leased).warning("a notice was refused", reply=reply)
        return Ended(Outcome.REFUSED, partial(self._ledger.refused, leased, reply))

    def _postponed(self, leased: Leased, wait: timedelta, reply: str) -> Ended:
        _logger(leased).info("a notice has to wait", reply=reply, seconds=round(wait.total_seconds(), 1))
        return Ended(Outcome.TRY_LATER, partial(self._ledger.postpone, leased, wait, reply))

    def _unknown(self, leased: Leased, reply: str, notice: Notice | None) -> Ended:
        policy = self._policy(leased.delivery, notice)
        _logger(leased).warning("whether a notice arrived is unknown", reply=reply, policy=policy)
        wait = self._backoff.wait(leased.tries + 1)
        return Ended(Outcome.UNKNOWN, partial(self._ledger.unknown, leased, policy, wait, reply))

    def _policy(self, delivery: Delivery, notice: Notice | None) -> Policy:
        try:
            return Policy(self._channel.after_unknown(delivery, notice.backend if notice else None))
        except Exception:  # noqa: BLE001 - what somebody else wrote may raise anything
            _log.exception("a channel does not say what to do about an unknown outcome", channel=self._channel.name)
            return Policy.AT_LEAST_ONCE

    def _wait(self, later: TryLater, tries: int) -> timedelta:
        """Return how long a notice waits: while its channel rests, or longer from try to try."""
        asked = timedelta(seconds=later.after_seconds) if later.after_seconds else None
        if later.slow_channel:
            return self._rest.begin(asked)
        return asked or self._backoff.wait(tries + 1)


def _logger(leased: Leased) -> structlog.stdlib.BoundLogger:
    delivery = leased.delivery
    logger: structlog.stdlib.BoundLogger = _log.bind(
        notice=delivery.id, subject=str(delivery.subject), channel=delivery.channel
    )
    return logger


def _fault(leased: Leased, error: BaseException) -> str:
    """Return why a notice could not be made, which is no fault of its channel's."""
    if isinstance(error, StoreUnavailableError):
        return "the database is away"
    if isinstance(error, CancelledUnsentError):
        return "nothing was sent before the deadline"
    if isinstance(error, TimeoutError):
        return "it was not described in time"
    _logger(leased).error("a notice could not be made", exc_info=error)  # the next ones may be fine
    return f"{type(error).__name__} in the notifier"
