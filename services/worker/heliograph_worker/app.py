"""The worker as a service: what it is made of, in which order it starts and stops."""

import asyncio
import contextlib
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from heliograph.admission.admission import Admission
from heliograph.admission.intake import Intake
from heliograph.admission.registry import Registry
from heliograph.admission.relations import Relatives
from heliograph.announcements import Announcements
from heliograph.background import running
from heliograph.bus.port import Bus
from heliograph.callbacks import Callbacks, ensure_callback_indexes
from heliograph.connections import connect, prepare
from heliograph.health import HealthServer
from heliograph.jobs.children import Children
from heliograph.jobs.reconciler import Reconciler
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import FollowerStore, JobStore, OutboxStore, TreeStore, UpkeepStore
from heliograph.jobs.store.indexes import ensure_job_indexes
from heliograph.locks import Locks
from heliograph.queues.store import QueueStore
from heliograph.readiness import readiness
from heliograph.serving import Service
from heliograph.storage import Database, Files, StoreUnavailableError
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.consumer import Consumer
from heliograph_worker.pool import Pool
from heliograph_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

SEEN_SECONDS = 10.0
RELAY_DRAIN_SECONDS = 5.0


class Worker(Service):
    """Runs backends; an asynchronous context manager that starts and stops it.

    ``database`` and ``bus`` are shared where several services live in one process; by default it makes its own.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        catalogue: Catalogue | None = None,
        database: Database | None = None,
        bus: Bus | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._catalogue = catalogue
        self._database = database
        self._bus = bus

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        catalogue = self._catalogue or Catalogue.load(settings.backends_file)
        if not catalogue.backends:
            _log.warning("no backend is installed: this worker has nothing to do")
        database, bus = await connect(stack, settings, "worker", self._database, self._bus)
        if settings.metrics_port is not None:
            ready = partial(readiness, database, bus)
            await stack.enter_async_context(HealthServer(settings.metrics_host, settings.metrics_port, ready))
        pool = Pool(
            catalogue,
            slots=settings.slots,
            scratch_root=settings.scratch.resolve(),  # a job has a working folder of its own
            grace=timedelta(seconds=settings.grace_seconds),
            memory_limit=settings.memory_limit_bytes,
            keep=frozenset(filter(None, settings.keep_variables.split(","))),
        )
        stack.push_async_callback(pool.close)  # before its start, which may be broken off half-way
        await pool.start()
        await prepare(database, ensure_job_indexes, ensure_callback_indexes)
        await self._run_tasks(catalogue, pool, database, bus)
        _log.info("worker ready", worker=settings.worker_name, backends=list(catalogue.backends), slots=settings.slots)

    async def _run_tasks(self, catalogue: Catalogue, pool: Pool, database: Database, bus: Bus) -> None:
        """Start what runs beside each other; the consumer starts last and stops first."""
        settings, stack = self._settings, self._stack
        followers = FollowerStore(database)
        relay = Relay(OutboxStore(database, public_url=settings.public_url), followers, bus)
        stack.push_async_callback(relay.drain, RELAY_DRAIN_SECONDS)
        await stack.enter_async_context(running(relay.run()))
        locks = Locks(database, settings.worker_name)
        artifacts, uploads = Files(database, "artifacts"), Files(database, "uploads")
        reconciler = Reconciler(database, UpkeepStore(database), followers, relay, locks, artifacts, uploads)
        await stack.enter_async_context(running(reconciler.run()))
        announcements = Announcements(database)
        await announcements.announce(catalogue.backends.values())
        await announcements.seen(settings.worker_name, catalogue.backends, settings.slots)
        stack.push_async_callback(_quietly, announcements.gone(settings.worker_name))
        await stack.enter_async_context(running(_stay_seen(announcements, catalogue, settings)))
        consumer = Consumer(
            settings.worker_name, settings.slots, timedelta(seconds=settings.lease_seconds), catalogue, pool, database,
            bus, relay, children=await self._children(database, followers, relay, bus),
            callbacks=_callbacks(settings, database), seal_keys=settings.seal_keys,
        )  # fmt: skip
        await stack.enter_async_context(running(consumer.leases.run()))
        wishes = await bus.subscribe_wishes(settings.worker_name, consumer.leases.wish_cancel)
        stack.push_async_callback(wishes.close)
        stack.push_async_callback(consumer.drain, settings.drain_seconds)
        await stack.enter_async_context(running(consumer.run()))

    async def _children(self, database: Database, followers: FollowerStore, relay: Relay, bus: Bus) -> Children | None:
        """Return what takes the submissions of jobs, which are judged as those of people are."""
        key = self._settings.identity_key
        if key is None:
            return None
        registry = Registry(Announcements(database), QueueStore(database))
        await self._stack.enter_async_context(running(registry.run()))
        trees = TreeStore(database)
        retention = timedelta(days=self._settings.retention_days)
        uploads = Files(database, "uploads")
        admission = Admission(
            registry, uploads, Relatives(trees), key, retention, seal_keys=self._settings.seal_keys
        )  # fmt: skip
        return Children(Intake(admission, JobService(JobStore(database), followers, trees, relay, bus)), trees)


def _callbacks(settings: WorkerSettings, database: Database) -> Callbacks | None:
    return Callbacks(database, settings.link_keys, settings.public_url) if settings.link_keys else None


async def _stay_seen(announcements: Announcements, catalogue: Catalogue, settings: WorkerSettings) -> None:
    while True:
        await asyncio.sleep(SEEN_SECONDS)
        with contextlib.suppress(StoreUnavailableError):
            await announcements.announce(catalogue.backends.values())
            await announcements.seen(settings.worker_name, catalogue.backends, settings.slots)


async def _quietly(work: Any) -> None:
    with contextlib.suppress(StoreUnavailableError):
        await work
