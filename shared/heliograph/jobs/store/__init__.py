"""Jobs in MongoDB. Every filter, update and index over jobs stands in this package."""

from heliograph.jobs.store.agent_answers import AnswerStore
from heliograph.jobs.store.agent_claims import AgentClaims
from heliograph.jobs.store.agents import AgentStore
from heliograph.jobs.store.claims import ClaimStore
from heliograph.jobs.store.counts import Counts
from heliograph.jobs.store.followers import FollowerStore
from heliograph.jobs.store.jobs import JobStore, KnownRequest
from heliograph.jobs.store.listing import Listing
from heliograph.jobs.store.logs import LogStore
from heliograph.jobs.store.outbox import OutboxStore
from heliograph.jobs.store.sets import SetStore
from heliograph.jobs.store.trees import TreeStore
from heliograph.jobs.store.upkeep import UpkeepStore

__all__ = [
    "AgentClaims", "AgentStore", "AnswerStore", "ClaimStore", "Counts", "FollowerStore", "JobStore", "KnownRequest",
    "Listing", "LogStore", "OutboxStore", "SetStore", "TreeStore", "UpkeepStore",
]  # fmt: skip
