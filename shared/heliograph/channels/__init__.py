"""Channels: what the author of a channel needs.

A channel is a way to reach people: e-mail and Matrix ship; others are found by the entry point ``heliograph.channels``,
which names a function that takes a ``ChannelContext`` and returns a ``Channel``, or None where it is not configured.
"""

from heliograph.channels.notice import File, Link, Notice, Row, Section
from heliograph.channels.port import (
    CancelledUnsentError,
    Channel,
    ChannelContext,
    ChannelFactory,
    OutcomeUnknown,
    Refused,
    SendError,
    TryLater,
)

__all__ = [
    "CancelledUnsentError", "Channel", "ChannelContext", "ChannelFactory", "File", "Link", "Notice", "OutcomeUnknown",
    "Refused", "Row", "Section", "SendError", "TryLater",
]  # fmt: skip
