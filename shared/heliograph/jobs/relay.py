"""The relay: carries events from the outboxes of jobs to the bus, and lets go what waited for the jobs that ended.

Nudged after each write of this process, and by a sweep for what other processes left behind. An event leaves its
outbox only after the bus has confirmed it, so that each is published at least once; a job's events go out in order,
and the first that fails stops that job until the next round.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge

from heliograph import faults
from heliograph.bus.port import Bus, BusUnavailableError
from heliograph.jobs.store.followers import FollowerStore, Released
from heliograph.jobs.store.outbox import SWEEP_BATCH, OutboxStore, Outgoing
from heliograph.storage import StoreUnavailableError

_log = structlog.get_logger()

ROUND = 500  # jobs read and published at a time
SWEEP_SECONDS = 5.0
# A busy process waits so long between its rounds, and reads, confirms and pulls for ten jobs at once what took as long
# for one; it is busy while its rounds find so many. Measured: 1.4 times the throughput of a worker of short jobs.
PACE_SECONDS = 0.05
BUSY_JOBS = 4
RELEASE_SECONDS = 0.05  # from one look for followers to the next: where nobody waits, each takes 0.6 ms for nothing
PAUSE_SECONDS = 0.5  # after a failure, before the next try

PUBLISHED = Counter("heliograph_events_published_total", "Events that the bus has confirmed")
LAG = Gauge("heliograph_relay_lag_seconds", "How long the events of the last round had waited for this relay")


class Relay:
    """Publishes what jobs have to tell; one for each process that writes jobs."""

    def __init__(self, outbox: OutboxStore, followers: FollowerStore, bus: Bus) -> None:
        self._outbox = outbox
        self._followers = followers
        self._bus = bus
        self._nudged: dict[str, float] = {}  # job to when it was first nudged
        self._failed: dict[str, float] = {}  # as above, of jobs that rest after a failure
        self._wake = asyncio.Event()
        self._ended: set[str] = set()  # jobs whose followers are to be released
        self._some_ended = asyncio.Event()

    def nudge(self, job: str) -> None:
        """Say that this job has something to tell."""
        self._nudged.setdefault(job, time.monotonic())
        self._wake.set()

    @property
    def backlog(self) -> int:
        """How many nudges wait."""
        return len(self._nudged) + len(self._failed)

    async def run(self) -> None:
        """Relay until cancelled; what could not go out waits in its outbox for the next start."""
        others = [
            asyncio.create_task(self._sweep(), name="relay-sweep"),
            asyncio.create_task(self._keep_retrying(), name="relay-retry"),
            asyncio.create_task(self._keep_releasing(), name="relay-release"),
        ]
        began, busy = time.monotonic(), False
        try:
            while True:
                await self._wake.wait()
                await self._bus.wait_connected()
                if busy:
                    await asyncio.sleep(began + PACE_SECONDS - time.monotonic())
                busy = len(self._nudged) >= BUSY_JOBS
                began = time.monotonic()
                await self._round()
        finally:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    async def follow_up(self, released: Released) -> None:
        """See to it that what a release ended is told, and that what it let go is looked for."""
        for job in released.ended:
            self.nudge(job)
        if released.queues:
            await self._bus.hint(set(released.queues))

    async def drain(self, within_seconds: float) -> None:
        """Relay what was nudged so far, for a clean end; gives up when the time is over or the bus is away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                self._retry()
                while self.backlog and self._bus.is_connected:
                    await self._round()
                    if not self._nudged and self._failed:
                        await asyncio.sleep(PAUSE_SECONDS)
                        self._retry()

    async def _round(self) -> None:
        jobs = dict(list(self._nudged.items())[:ROUND])
        for job in jobs:
            del self._nudged[job]
        if not self._nudged:
            self._wake.clear()
        left = jobs  # also where this is cancelled: for `drain`
        try:
            outgoing = await self._outbox.read(jobs)
            if ended := {job.job for job in outgoing if job.is_over}:
                self._ended |= ended
                self._some_ended.set()
            failed = await self._publish(outgoing)
            left = {job: since for job, since in jobs.items() if job in failed}
        except StoreUnavailableError:
            _log.debug("relay waits for the database")
        except Exception:  # noqa: BLE001 - whatever it is, events must go on
            _log.exception("relay failed, goes on")
        finally:
            self._failed = {**left, **self._failed}
        if jobs:
            LAG.set(time.monotonic() - min(jobs.values()))

    async def _publish(self, jobs: Sequence[Outgoing]) -> set[str]:
        """Publish and take out; return the jobs of which something is left."""
        confirmed = await asyncio.gather(*(self._publish_job(job) for job in jobs))
        taken = {job.job: ids for job, ids in zip(jobs, confirmed, strict=True) if ids}
        if taken:
            PUBLISHED.inc(sum(map(len, taken.values())))
            faults.reach(faults.Point.PUBLISHED_NOT_PULLED)
            await self._outbox.pull(taken)
            await self._bus.hint({job.queue for job in jobs if job.is_ready and job.job in taken})
        return {job.job for job, ids in zip(jobs, confirmed, strict=True) if len(ids) < len(job.events)}

    async def _publish_job(self, outgoing: Outgoing) -> list[str]:
        confirmed: list[str] = []
        for change, event in outgoing.events:
            try:
                await self._bus.publish(event)
            except BusUnavailableError as error:
                _log.debug("event waits for the bus", job=outgoing.job, why=error.message)
                break
            except Exception:  # noqa: BLE001 - what is wrong with one event must not stop the other jobs'
                _log.exception("event cannot be published", job=outgoing.job, event_id=event.id)
                break
            confirmed.append(change)
        return confirmed

    def _retry(self) -> None:
        if self._failed:
            # A job of which something is left is read again; one that is told leaves nothing to read.
            self._nudged, self._failed = {**self._failed, **self._nudged}, {}
            self._wake.set()

    async def _keep_retrying(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            self._retry()

    async def _keep_releasing(self) -> None:
        """Release followers, beside the rounds: one job can have 100,000. What fails here is the reconciler's."""
        began = -RELEASE_SECONDS
        while True:
            await self._some_ended.wait()
            await asyncio.sleep(began + RELEASE_SECONDS - time.monotonic())
            began = time.monotonic()
            ended, self._ended = self._ended, set()
            self._some_ended.clear()
            try:
                await self.follow_up(await self._followers.release(ended))
            except StoreUnavailableError:
                _log.debug("what waits for ended jobs is left to the reconciler")
            except Exception:  # noqa: BLE001 - the reconciler may release what this could not
                _log.exception("release failed, goes on")

    async def _sweep(self) -> None:
        found: list[str] = []
        while True:
            # A full batch means that more is left of a long absence.
            await asyncio.sleep(SWEEP_SECONDS if len(found) < SWEEP_BATCH else PAUSE_SECONDS)
            await self._bus.wait_connected()
            try:
                found = await self._outbox.stale()
            except StoreUnavailableError:
                continue
            except Exception:  # noqa: BLE001 - the next sweep may find what this one could not
                _log.exception("relay's sweep failed, goes on")
                continue
            for job in found:
                self.nudge(job)
