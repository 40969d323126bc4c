"""Named points at which a test kills the process, to prove what survives. Inert unless a setting names one.

The points stand where a crash would be most harmful: between two writes, or between a write and what follows it.
"""

import os
import signal
from enum import StrEnum

import structlog

_log = structlog.get_logger()


class Point(StrEnum):
    """Where a process can be made to die."""

    SUBMITTED_NOT_PUBLISHED = "submitted-not-published"  # api: the job is stored, its event not out
    PUBLISHED_NOT_PULLED = "published-not-pulled"  # relay: the event is confirmed, still in the outbox
    CLAIMED_NOT_STARTED = "claimed-not-started"  # worker: the claim is written, no child runs
    FINISHED_NOT_WRITTEN = "finished-not-written"  # worker: the backend returned, the result is not stored
    PLANNED_NOT_SENT = "planned-not-sent"  # notifier: deliveries are stored, none is sent
    SENDING_NOT_SENT = "sending-not-sent"  # notifier: "sending" is journaled, no byte is out
    SENT_NOT_RECORDED = "sent-not-recorded"  # notifier: the server took it, the ledger does not know


_armed: Point | None = None


def arm(point: Point | None) -> None:
    """Choose the point at which this process dies; None for nowhere."""
    global _armed  # noqa: PLW0603 - set once, at start, from the settings
    _armed = point
    if point:
        _log.warning("a fault is armed: this process will kill itself", point=point)


def reach(point: Point) -> None:
    """Die here if this point is armed, as by ``kill -9``."""
    if _armed is point:
        os.kill(os.getpid(), signal.SIGKILL)
