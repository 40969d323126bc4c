"""What the notifier counts."""

from prometheus_client import Counter, Gauge, Histogram

NOTICES = Counter("heliograph_notices_total", "Notices by what became of them", ["channel", "outcome"])
PLANNER_LAG = Gauge("heliograph_planner_lag_seconds", "How old the oldest change of the last planned batch was")
SEND_SECONDS = Histogram(
    "heliograph_send_seconds", "How long a channel took to send one notice", ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)  # fmt: skip
