"""The indexes over jobs, each for one question.

Each costs every write a little (a full change of state 250-315 us of mongod with nine of them, an insert 25 us), so
most are partial: a job is in them only while the question may concern it.
"""

from heliograph.jobs.states import ACTIVE, State
from heliograph.jobs.store.agent_answers import ensure_answer_indexes
from heliograph.storage import Database, Index

JOBS = "jobs"
WAITS_FOR = "waits_for"  # the index by which the followers of a job are found

_QUEUED = {"state": State.QUEUED.value}
_IN_TREE = {"partialFilterExpression": {"ancestors": {"$exists": True}}}  # the server takes any ancestor to imply it
_IN_GROUP = {"partialFilterExpression": {"group": {"$exists": True}}}

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
    # What an agent holds whose time is limited; of 5,000 with time left the reconciler reads none.
    Index("deadline", (("lease.deadline", 1),), {"partialFilterExpression": {"lease.deadline": {"$exists": True}}}),
    Index("outbox", (("outbox.at", 1),), {"partialFilterExpression": {"outbox.0": {"$exists": True}}}),
    Index("notices", (("notices_due.at", 1),), {"partialFilterExpression": {"notices_due.0": {"$exists": True}}}),
    Index(
        "idempotency", (("owner", 1), ("idempotency.key", 1)),
        {"unique": True, "partialFilterExpression": {"idempotency.key": {"$exists": True}}},
    ),
    # What an owner has to be claimed, for queues that limit their owners: see `lanes`. The last two keys let the census
    # read how much waits, and since when, from the index alone.
    Index(
        "owners",
        (
            ("queue", 1), ("state", 1), ("due", 1), ("owner", 1), ("priority", -1), ("_id", 1), ("updated_at", 1),
            ("not_before", 1),
        ),
        {"partialFilterExpression": {**_QUEUED, "due": True}},
    ),
    # The rule that no two jobs hold one place within a limit; neither null nor empty lists may stand there.
    Index("slots", (("slots", 1),), {"unique": True, "sparse": True}),
    # The rule that a queue keeps each input once.
    Index("once", (("once_key", 1),), {"unique": True, "sparse": True}),
    # The rule that a claim under a client's key is made once.
    Index("claims", (("lease.request", 1),), {"unique": True, "sparse": True}),
    # How much waits and is held in a queue, and since when: read from the index alone.
    Index(
        "counts", (("queue", 1), ("state", 1), ("created_at", 1)),
        {"partialFilterExpression": {"state": {"$in": list(ACTIVE)}}},
    ),
    Index(
        WAITS_FOR, (("waits_for", 1),), {"partialFilterExpression": {**_QUEUED, "waits_for.0": {"$exists": True}}}
    ),
    # What descends from a job, as a list; the same with its states, to be counted without a look at the jobs; and the
    # children alone.
    Index("tree", (("ancestors", 1), ("_id", 1)), _IN_TREE),
    Index("tree_states", (("ancestors", 1), ("state", 1)), _IN_TREE),
    Index("children", (("parent", 1), ("_id", 1)), {"partialFilterExpression": {"parent": {"$exists": True}}}),
    # What was given up, the last first for each kind of error.
    Index(
        "given_up", (("state", 1), ("error.kind", 1), ("ended_at", -1), ("_id", -1)),
        {"partialFilterExpression": {"state": State.FAILED.value}},
    ),
    Index("mine", (("owner", 1), ("_id", -1)), {}),
    Index("group", (("group", 1), ("_id", -1)), _IN_GROUP),
    # What a group amounts to, read from the index alone.
    Index("group_states", (("group", 1), ("owner", 1), ("state", 1), ("ended_at", 1), ("_id", 1)), _IN_GROUP),
    Index("inputs", (("inputs", 1),), {"partialFilterExpression": {"inputs.0": {"$exists": True}}}),
    Index("updated", (("updated_at", 1), ("_id", 1)), {}),
    Index("expiry", (("expires_at", 1),), {"partialFilterExpression": {"expires_at": {"$exists": True}}}),
)  # fmt: skip


async def ensure_job_indexes(database: Database) -> None:
    """Create the indexes over jobs, their logs and the claims of them where they are missing."""
    await database.ensure_indexes(JOBS, INDEXES)
    await ensure_answer_indexes(database)
    await database.ensure_indexes("logs", (Index("of_job", (("job", 1), ("series", 1), ("attempt", 1), ("n", 1)), {}),))
