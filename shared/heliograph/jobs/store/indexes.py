"""The indexes over jobs, each for one question.

Each costs every write a little (a full change of state 250-315 us of mongod with nine of them, an insert 25 us), so
most are partial: a job is in them only while the question may concern it.
"""

from heliograph.jobs.states import State
from heliograph.storage import Database, Index

JOBS = "jobs"

_QUEUED = {"state": State.QUEUED.value}

INDEXES = (
    # What may be claimed next: by priority, then age, among what is due.
    Index(
        "claim", (("queue", 1), ("priority", -1), ("_id", 1)), {"partialFilterExpression": {**_QUEUED, "due": True}}
    ),
    # What becomes due; without `due` in the claim index, 50,000 waiting jobs slow a claim to 117 ms.
    Index("due", (("not_before", 1),), {"partialFilterExpression": {**_QUEUED, "due": False}}),
    Index(
        "expiring", (("start_before", 1),),
        {"partialFilterExpression": {**_QUEUED, "start_before": {"$exists": True}}},
    ),
    Index("lease", (("lease.until", 1),), {"partialFilterExpression": {"lease.until": {"$exists": True}}}),
    Index("outbox", (("outbox.at", 1),), {"partialFilterExpression": {"outbox.0": {"$exists": True}}}),
    Index("notices", (("notices_due.at", 1),), {"partialFilterExpression": {"notices_due.0": {"$exists": True}}}),
    Index(
        "idempotency", (("owner", 1), ("idempotency.key", 1)),
        {"unique": True, "partialFilterExpression": {"idempotency.key": {"$exists": True}}},
    ),
    Index("mine", (("owner", 1), ("_id", -1)), {}),
    Index("group", (("group", 1), ("_id", -1)), {"partialFilterExpression": {"group": {"$exists": True}}}),
    Index("inputs", (("inputs", 1),), {"partialFilterExpression": {"inputs.0": {"$exists": True}}}),
    Index("updated", (("updated_at", 1), ("_id", 1)), {}),
    Index("expiry", (("expires_at", 1),), {"partialFilterExpression": {"expires_at": {"$exists": True}}}),
)  # fmt: skip


async def ensure_job_indexes(database: Database) -> None:
    """Create the indexes over jobs and their logs where they are missing."""
    await database.ensure_indexes(JOBS, INDEXES)
    await database.ensure_indexes("logs", (Index("of_job", (("job", 1), ("series", 1), ("attempt", 1), ("n", 1)), {}),))
