"""The parts that the routes work with, made once in the app's lifespan."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from heliograph.admission.intake import Intake
from heliograph.admission.registry import Registry
from heliograph.announcements import Announcements
from heliograph.bus.port import Bus
from heliograph.callbacks import Callbacks
from heliograph.dead.service import Dead
from heliograph.errors import UnavailableError
from heliograph.identity.queue_tokens import QueueTokens
from heliograph.identity.tokens import Tokens
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import Listing, LogStore, SetStore
from heliograph.notices.allowance import Allowances
from heliograph.notices.announced import AnnouncedChannels
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.linked import LinkedUsers
from heliograph.notices.mutes import MuteStore
from heliograph.notices.preferences import PreferenceStore
from heliograph.notices.store import Ledger
from heliograph.notices.watches import WatchStore
from heliograph.queues.agents import Agents
from heliograph.queues.service import QueueService
from heliograph.storage import Database, Files, StoreUnavailableError
from heliograph_api.settings import ApiSettings
from heliograph_api.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Parts:
    """What a route may use."""

    settings: ApiSettings
    database: Database
    bus: Bus
    tokens: Tokens
    jobs: JobService
    intake: Intake
    listing: Listing
    sets: SetStore
    logs: LogStore
    relay: Relay
    artifacts: Files
    uploads: Files
    announcements: Announcements
    registry: Registry
    waiting: Waiting
    ledger: Ledger
    preferences: PreferenceStore
    linked: LinkedUsers
    mutes: MuteStore
    watches: WatchStore
    bulletins: BulletinStore
    allowances: Allowances
    announced_channels: AnnouncedChannels
    dead: Dead
    queues: QueueService
    agents: Agents
    queue_tokens: QueueTokens
    callbacks: Callbacks | None  # None without keys to check their addresses with


def parts_of(request: Request) -> Parts:
    """Return the parts of the app that serves this request."""
    return cast("Parts", request.app.state.parts)


async def require_database(request: Request) -> None:  # async: FastAPI runs plain functions in a thread
    """Refuse at once while the database is known to be away, rather than after a wait.

    Raises
    ------
    StoreUnavailableError
        It is away, or its indexes are not there yet.
    """
    if not request.app.state.prepared.is_set():
        raise UnavailableError("the service is starting: it waits for the database")
    if not parts_of(request).database.is_connected:
        raise StoreUnavailableError
