"""What operators and backends say about what may be begun: kept for a second, asked again before a claim."""

import time
from collections.abc import Mapping, Sequence

from heliograph.announcements import Announcements
from heliograph.jobs.limits import Limits

KEPT_SECONDS = 1.0  # how late a worker hears that a backend is paused


class Rules:
    """Which of this worker's backends are not paused, and their limits."""

    def __init__(self, announcements: Announcements, backends: Sequence[str]) -> None:
        self._announcements = announcements
        self._backends = backends
        self._open: Mapping[str, Limits] = {}
        self._read_at = -KEPT_SECONDS

    async def open(self) -> Mapping[str, Limits]:
        """Return the backends that are not paused, and how many of their jobs may be held at a time."""
        if time.monotonic() - self._read_at >= KEPT_SECONDS:
            self._open = await self._announcements.open(self._backends)
            self._read_at = time.monotonic()
        return self._open

    def is_limited(self, backend: str) -> bool:
        """Say whether its jobs were limited when last asked."""
        limits = self._open.get(backend)
        return limits is not None and (limits.total, limits.per_owner) != (None, None)
