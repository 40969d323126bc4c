"""What the notifier counts."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from heliograph.notices.model import Delivery

NOTICES = Counter("heliograph_notices_total", "Notices by what became of them", ["channel", "outcome"])
PLANNER_LAG = Gauge("heliograph_planner_lag_seconds", "How old the oldest change of the last planned batch was")
NOTICES_OPEN = Gauge("heliograph_notices_open", "Notices that are planned or being sent", ["channel"])
OLDEST_DUE_SECONDS = Gauge(
    "heliograph_notices_oldest_due_seconds", "How long the oldest open notice that is due has been so", ["channel"]
)
UNTOLD = Gauge(
    "heliograph_jobs_ended_untold",
    "Jobs that ended a minute ago or more and of whose end people are still to be told; a group's counts as one",
)
SEND_SECONDS = Histogram(
    "heliograph_send_seconds", "How long a channel took to send one notice", ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)  # fmt: skip


def count_planned(deliveries: Iterable[Delivery]) -> None:
    """Count what was planned, by what the rules made of it."""
    for delivery in deliveries:
        NOTICES.labels(delivery.channel, delivery.status.value).inc()
