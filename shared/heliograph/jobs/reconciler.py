"""The reconciler: does what time alone asks for. It runs in every api and worker; a lock lets one act at a time.

What judges agents is for an api alone, which they report to: while there is none, a worker would end what they could
not report.
"""

import asyncio
import random
from collections.abc import Awaitable
from datetime import timedelta

import structlog
from prometheus_client import Counter

from heliograph.jobs.relay import Relay
from heliograph.jobs.store.followers import FollowerStore
from heliograph.jobs.store.upkeep import UpkeepStore
from heliograph.locks import Locks
from heliograph.storage import Database, Files, StoreUnavailableError

_log = structlog.get_logger()

PERIOD_SECONDS = 2.0
LOCK = "reconciler"
LOCK_ON_AGENTS = "agents"
FILE_SWEEP = "file-sweep"
LOCK_LENGTH = timedelta(seconds=10)
SWEEP_FILES_EVERY = timedelta(hours=1)
UNLISTED_FILE_AGE = timedelta(days=1)  # a job that is still being submitted or run may list it yet

LOST = Counter("heliograph_leases_lost_total", "Attempts whose worker was lost")
OVERRUN = Counter("heliograph_overruns_total", "Jobs of pull queues that took longer than they may")


class Reconciler:
    """Lets go what waits, ends what came too late, takes back lost leases, removes what is no longer kept.

    Where its process ``serves_agents`` it also ends what they hold for too long.
    """

    def __init__(
        self, database: Database, upkeep: UpkeepStore, followers: FollowerStore, relay: Relay, locks: Locks,
        artifacts: Files, uploads: Files, *, serves_agents: bool = False,
    ) -> None:  # fmt: skip
        self._database = database
        self._upkeep = upkeep
        self._followers = followers
        self._relay = relay
        self._locks = locks
        self._artifacts = artifacts
        self._uploads = uploads
        self._serves_agents = serves_agents

    async def run(self) -> None:
        """Reconcile until cancelled; an outage of the database pauses it."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            for part in (self._keep_up, self._watch_agents):  # each by itself: one that fails stops no other
                try:
                    await part()
                except StoreUnavailableError:
                    _log.debug("reconciler waits for the database")
                except Exception:  # noqa: BLE001 - a defect in one job must not end the upkeep of all
                    _log.exception("reconciler failed, goes on")

    async def _keep_up(self) -> None:
        if await self._locks.take(LOCK, LOCK_LENGTH):
            await self.reconcile()
            if await self._locks.take_turn(FILE_SWEEP, SWEEP_FILES_EVERY):
                await self.sweep_files()

    async def _watch_agents(self) -> None:
        if self._serves_agents and await self._locks.take(LOCK_ON_AGENTS, LOCK_LENGTH):
            await self.end_overruns()

    async def reconcile(self) -> None:
        """Do once all that time asks for now."""
        await self._upkeep.make_due()
        for job in await self._upkeep.expire_unstarted():
            self._relay.nudge(job)
        candidates = await self._upkeep.lost_leases(self._database.connected_for)
        connected_for = await self._database.confirm_connected() if candidates else timedelta(0)
        for lost in candidates:
            if await _made(lost.job, self._upkeep.take_back(lost, connected_for)):
                LOST.inc()
                _log.warning("lease lost, job taken back", job=lost.job)
                self._relay.nudge(lost.job)
        await self._relay.follow_up(await self._followers.sweep())
        async for expired in self._upkeep.expired():
            for file in expired.files:
                await self._artifacts.delete(file)
            await self._upkeep.remove(expired.job)

    async def end_overruns(self) -> None:
        """End what agents hold for longer than it may take, once they have had the time to report after an outage."""
        candidates = await self._upkeep.overruns(self._database.connected_for)
        connected_for = await self._database.confirm_connected() if candidates else timedelta(0)
        for overrun in candidates:
            if await _made(overrun.job, self._upkeep.end_overrun(overrun, connected_for)):
                OVERRUN.inc()
                _log.warning("an agent took too long, job ended", job=overrun.job)
                self._relay.nudge(overrun.job)

    async def sweep_files(self) -> None:
        """Delete files of more than a day that no job lists, and the pieces of uploads that broke off."""
        before = await self._database.now() - UNLISTED_FILE_AGE
        async for batch in self._artifacts.older_than(before):
            for file in await self._upkeep.unlisted_artifacts(batch):
                await self._artifacts.delete(file)
        async for batch in self._uploads.older_than(before):
            for file in await self._upkeep.unlisted_inputs([file for file, _ in batch]):
                await self._uploads.delete(file)
        for bucket in (self._artifacts, self._uploads):
            async for file in bucket.abandoned(before):
                await bucket.delete(file)


async def _made(job: str, change: Awaitable[bool]) -> bool:
    """Return whether a change was made; one that cannot be made keeps no other job from being changed."""
    try:
        return await change
    except StoreUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect in one job, whatever it is
        _log.warning("a job cannot be changed, others are", job=job, why=repr(error))
        return False
