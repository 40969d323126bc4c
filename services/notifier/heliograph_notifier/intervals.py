"""Keeping the least time between two notices of the same request to the same recipient."""

from datetime import datetime, timedelta

from heliograph.notices.intervals import IntervalStore
from heliograph.notices.model import Delivery
from heliograph_notifier.rules import within_interval


async def keep_interval(intervals: IntervalStore, delivery: Delivery, identity: str, at: datetime) -> Delivery:
    """Return a delivery as it is planned, suppressed where another of the same identity came too shortly before it."""
    if delivery.interval_seconds is None:
        return delivery
    what = f"{identity}|{delivery.channel}|{delivery.recipient}"
    is_free = await intervals.take(what, at, timedelta(seconds=delivery.interval_seconds), delivery.key)
    return delivery if is_free else within_interval(delivery)
