"""Jobs in MongoDB. Every filter, update and index over jobs stands in this package."""

from heliograph.jobs.store.claims import ClaimStore
from heliograph.jobs.store.jobs import JobStore, KnownRequest
from heliograph.jobs.store.listing import Listing
from heliograph.jobs.store.logs import LogStore
from heliograph.jobs.store.outbox import OutboxStore
from heliograph.jobs.store.upkeep import UpkeepStore

__all__ = ["ClaimStore", "JobStore", "KnownRequest", "Listing", "LogStore", "OutboxStore", "UpkeepStore"]
