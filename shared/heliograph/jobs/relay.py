"""The relay: carries events from the outboxes of jobs to the bus.

Nudged after each write of this process, and by a sweep for what other processes left behind. An event leaves its
outbox only after the bus has confirmed it, so that each is published at least once; a job's events go out in order,
and the first that fails stops that job until the next round.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable

import structlog
from prometheus_client import Counter, Gauge

from heliograph import faults
from heliograph.bus.port import Bus, BusUnavailableError
from heliograph.jobs.store.outbox import OutboxStore, Outgoing
from heliograph.storage import StoreUnavailableError

_log = structlog.get_logger()

ROUND = 500  # jobs read and published at a time
SWEEP_SECONDS = 5.0
PAUSE_SECONDS = 0.5  # after a failure, before the next try

PUBLISHED = Counter("heliograph_events_published_total", "Events that the bus has confirmed")
LAG = Gauge("heliograph_relay_lag_seconds", "How long the events of the last round had waited for this relay")


class Relay:
    """Publishes what jobs have to tell; one for each process that writes jobs."""

    def __init__(self, outbox: OutboxStore, bus: Bus) -> None:
        self._outbox = outbox
        self._bus = bus
        self._nudged: dict[str, float] = {}
        self._wake = asyncio.Event()

    def nudge(self, job: str) -> None:
        """Say that this job has something to tell."""
        self._nudged.setdefault(job, time.monotonic())
        self._wake.set()

    @property
    def backlog(self) -> int:
        """How many nudges wait."""
        return len(self._nudged)

    async def run(self) -> None:
        """Relay until cancelled; what could not go out waits in its outbox for the next start."""
        sweeper = asyncio.create_task(self._sweep(), name="relay-sweep")
        try:
            while True:
                await self._wake.wait()
                await self._bus.wait_connected()
                await self._round()
        finally:
            sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeper

    async def drain(self, within_seconds: float) -> None:
        """Relay what was nudged so far, for a clean end; gives up when the time is over or the bus is away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._nudged and self._bus.is_connected:
                    await self._round()

    async def _round(self) -> None:
        jobs = dict(list(self._nudged.items())[:ROUND])
        for job in jobs:
            del self._nudged[job]
        if not self._nudged:
            self._wake.clear()
        complete = False
        try:
            complete = await self._publish(await self._outbox.read(jobs))
        except StoreUnavailableError:
            _log.debug("relay waits for the database")
        except asyncio.CancelledError:
            self._nudged = {**jobs, **self._nudged}  # for `drain`
            raise
        if jobs:
            LAG.set(time.monotonic() - min(jobs.values()))
        if not complete:
            # A job of which something is left is read again; one that is told leaves nothing to read.
            self._nudged = {**jobs, **self._nudged}
            self._wake.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _publish(self, outgoing: Iterable[Outgoing]) -> bool:
        """Publish and take out; return whether everything went out."""
        jobs = list(outgoing)
        confirmed = await asyncio.gather(*(self._publish_job(job) for job in jobs))
        taken = {job.job: ids for job, ids in zip(jobs, confirmed, strict=True) if ids}
        if taken:
            PUBLISHED.inc(sum(map(len, taken.values())))
            faults.reach(faults.Point.PUBLISHED_NOT_PULLED)
            await self._outbox.pull(taken)
            await self._bus.hint({job.queue for job in jobs if job.is_ready and job.job in taken})
        return all(len(ids) == len(job.events) for job, ids in zip(jobs, confirmed, strict=True))

    async def _publish_job(self, outgoing: Outgoing) -> list[str]:
        confirmed: list[str] = []
        for change, event in outgoing.events:
            try:
                await self._bus.publish(event)
            except BusUnavailableError as error:
                _log.debug("event waits for the bus", job=outgoing.job, why=error.message)
                break
            confirmed.append(change)
        return confirmed

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._bus.wait_connected()
            with contextlib.suppress(StoreUnavailableError):
                for job in await self._outbox.stale():
                    self.nudge(job)
