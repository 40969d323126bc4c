"""The leases that this worker holds: renewed in bulk, and the first to know when one is lost or is to stop."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from heliograph.jobs.store import ClaimStore
from heliograph.storage import StoreUnavailableError
from heliograph_worker.task import StopReason

_log = structlog.get_logger(__name__)

BEATS_OF_LEASE = 3  # two beats may fail before it runs out
RETRY_SECONDS = 1.0


class Leases:
    """Keeps the leases of running jobs alive.

    While the database is away nothing is renewed and nothing is stopped: the jobs run on, and whoever else sees their
    leases run out waits for a lease's length after the outage before it calls them lost.
    """

    def __init__(self, claims: ClaimStore, stop: Callable[[str, StopReason], bool], *, beat: timedelta) -> None:
        self._claims = claims
        self._stop = stop
        self._beat_seconds = beat.total_seconds()
        self._tokens: dict[str, str] = {}

    def hold(self, job: str, token: str) -> None:
        """Keep a lease alive from now on."""
        self._tokens[job] = token

    def let_go(self, job: str, token: str) -> None:
        """Keep it alive no longer."""
        if self._tokens.get(job) == token:
            del self._tokens[job]

    def wish_cancel(self, job: str) -> None:
        """Stop a job of ours: somebody wishes so."""
        token = self._tokens.get(job)
        if token:
            self._stop(token, StopReason.CANCELLED)

    async def beat(self) -> None:
        """Renew all leases once; stop what is lost, and what somebody wishes to stop."""
        asked = dict(self._tokens)
        if not asked:
            return
        held = await self._claims.renew(asked)
        for job, token in asked.items():
            if self._tokens.get(job) != token:
                continue  # it ended meanwhile
            if job not in held:
                # One whose end was written a moment ago is no longer held either; there is nothing left of it to stop.
                if self._stop(token, StopReason.LOST):
                    _log.warning("lease lost, job stopped", job=job)
            elif held[job]:
                self._stop(token, StopReason.CANCELLED)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.beat()
            except StoreUnavailableError:
                _log.debug("leases wait for the database")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(self._beat_seconds)
