"""The parts that the routes work with, made once in the app's lifespan."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from heliograph.announcements import Announcements
from heliograph.bus.port import Bus
from heliograph.errors import UnavailableError
from heliograph.identity.tokens import Tokens
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store import Listing, LogStore
from heliograph.notices.store import Ledger
from heliograph.storage import Database, Files, StoreUnavailableError
from heliograph_api.admission import Admission
from heliograph_api.registry import Registry
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
    listing: Listing
    logs: LogStore
    relay: Relay
    artifacts: Files
    uploads: Files
    announcements: Announcements
    registry: Registry
    admission: Admission
    waiting: Waiting
    ledger: Ledger


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
