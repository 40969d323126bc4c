"""The api as an ASGI application, and the tasks that live beside it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

import heliograph
from heliograph.admission.admission import Admission
from heliograph.admission.intake import Intake
from heliograph.admission.registry import Registry
from heliograph.admission.relations import Relatives
from heliograph.announcements import Announcements
from heliograph.background import running
from heliograph.bus.port import Bus
from heliograph.callbacks import Callbacks, ensure_callback_indexes
from heliograph.connections import connect, prepare
from heliograph.dead.service import Dead
from heliograph.dead.store import LetterStore, ensure_dead_indexes
from heliograph.identity.queue_tokens import QueueTokens, ensure_token_indexes
from heliograph.identity.tokens import Tokens
from heliograph.jobs.reconciler import Reconciler
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import (
    AgentClaims,
    AgentStore,
    AnswerStore,
    ClaimStore,
    Counts,
    FollowerStore,
    JobStore,
    Listing,
    LogStore,
    OutboxStore,
    SetStore,
    TreeStore,
    UpkeepStore,
)
from heliograph.jobs.store.indexes import ensure_job_indexes
from heliograph.locks import Locks
from heliograph.notices.allowance import Allowances, ensure_allowance_indexes
from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.bulletins import BulletinStore, ensure_bulletin_indexes
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.linked import LinkedUsers, ensure_linked_indexes
from heliograph.notices.mutes import MuteStore, ensure_mute_indexes
from heliograph.notices.preferences import PreferenceStore
from heliograph.notices.store import Ledger
from heliograph.notices.watches import WatchStore, ensure_watch_indexes
from heliograph.queues.agents import Agents
from heliograph.queues.claiming import Claiming
from heliograph.queues.service import QueueService
from heliograph.queues.store import QueueStore
from heliograph.storage import Database, Files
from heliograph_api import pages, problems, routes
from heliograph_api.census import Census
from heliograph_api.documentation import document
from heliograph_api.metrics import RequestMetrics
from heliograph_api.parts import Parts
from heliograph_api.routes import callbacks, health
from heliograph_api.settings import ApiSettings
from heliograph_api.waiting import Waiting

DRAIN_SECONDS = 5.0


def create_app(settings: ApiSettings, *, database: Database | None = None, bus: Bus | None = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings
        The api's settings.
    database, bus
        Connections to share, where several services live in one process; by default the app makes its own.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            store, news = await connect(stack, settings, "api", database, bus)
            app.state.prepared = asyncio.Event()
            app.state.parts = parts = _parts(settings, store, news)
            await stack.enter_async_context(_background(app, parts))
            yield

    app = FastAPI(
        title="Heliograph",
        version=heliograph.__version__,
        summary="Dispatches scientific work and tells people what became of it",
        lifespan=lifespan,
        docs_url=None,  # ours, which asks nobody else for its scripts: pages.swagger
        redoc_url=None,
        redirect_slashes=False,  # an address is right or it is not found; a redirected POST loses its token
    )
    app.include_router(routes.router)
    app.include_router(pages.router)
    app.include_router(callbacks.router)
    app.include_router(health.router)
    app.add_middleware(RequestMetrics)
    problems.install(app)
    document(app)
    return app


def _parts(settings: ApiSettings, database: Database, bus: Bus) -> Parts:
    followers, trees = FollowerStore(database), TreeStore(database)
    relay = Relay(OutboxStore(database, public_url=settings.public_url), followers, bus)
    announcements = Announcements(database)
    declared, queue_tokens = QueueStore(database), QueueTokens(database)
    registry = Registry(announcements, declared)
    uploads = Files(database, "uploads")
    retention = timedelta(days=settings.retention_days)
    jobs = JobService(JobStore(database), followers, trees, relay, bus)
    admission = Admission(
        registry, uploads, Relatives(trees), settings.identity_key, retention, seal_keys=settings.seal_keys
    )
    return Parts(
        settings=settings,
        database=database,
        bus=bus,
        tokens=Tokens(settings.signing_keys),
        jobs=jobs,
        intake=Intake(admission, jobs),
        listing=Listing(database),
        sets=SetStore(database),
        logs=LogStore(database),
        relay=relay,
        artifacts=Files(database, "artifacts"),
        uploads=uploads,
        announcements=announcements,
        registry=registry,
        waiting=Waiting(bus),
        ledger=Ledger(database),
        preferences=PreferenceStore(database),
        linked=LinkedUsers(database),
        mutes=MuteStore(database),
        watches=WatchStore(database),
        bulletins=BulletinStore(database),
        allowances=Allowances(database),
        announced_channels=AnnouncedChannels(database),
        dead=Dead(database, jobs, relay, bus),
        queues=QueueService(declared, Counts(database), queue_tokens, registry),
        agents=Agents(
            declared,
            Claiming(
                declared,
                ClaimStore(database),
                AgentClaims(database),
                AgentStore(database),
                AnswerStore(database),
                relay,
            ),
            AgentStore(database),
            relay,
            bus,
            registry.is_backend,
        ),
        queue_tokens=queue_tokens,
        callbacks=_callbacks(settings, database),
    )


def _callbacks(settings: ApiSettings, database: Database) -> Callbacks | None:
    return Callbacks(database, settings.link_keys, settings.public_url) if settings.link_keys else None


@contextlib.asynccontextmanager
async def _background(app: FastAPI, parts: Parts) -> AsyncIterator[None]:
    reconciler = Reconciler(
        parts.database,
        UpkeepStore(parts.database),
        FollowerStore(parts.database),
        parts.relay,
        Locks(parts.database, f"api@{socket.gethostname()}:{os.getpid()}"),
        parts.artifacts,
        parts.uploads,
        serves_agents=True,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(parts.relay.drain, DRAIN_SECONDS)
        await stack.enter_async_context(running(_prepare(app, parts.database)))
        await stack.enter_async_context(running(parts.relay.run()))
        await stack.enter_async_context(running(parts.waiting.run()))
        await stack.enter_async_context(running(_after(app, reconciler.run)))
        await stack.enter_async_context(running(_after(app, parts.agents.claiming.run)))
        await stack.enter_async_context(running(_after(app, parts.registry.run)))
        await stack.enter_async_context(running(_after(app, Census(parts.database, parts.dead).run)))
        letters = await parts.bus.subscribe_dead(LetterStore(parts.database).keep)
        stack.push_async_callback(letters.close)
        yield


async def _prepare(app: FastAPI, database: Database) -> None:
    await prepare(
        database,
        ensure_job_indexes,
        ensure_notice_indexes,
        ensure_mute_indexes,
        ensure_watch_indexes,
        ensure_linked_indexes,
        ensure_bulletin_indexes,
        ensure_allowance_indexes,
        ensure_callback_indexes,
        ensure_token_indexes,
        ensure_dead_indexes,
    )
    app.state.prepared.set()


async def _after(app: FastAPI, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await app.state.prepared.wait()
    await work()
