"""The indexes over deliveries and intervals, each for one question."""

from heliograph.notices.model import DeliveryStatus
from heliograph.storage import Database, Index

DELIVERIES = "notices"  # not "deliveries", which notifiers of before this version keep in another form
INTERVALS = "intervals"
CAMPAIGNS = "campaigns"  # the notifiers' own; others read whose they are, and whether somebody looks after them

_DELIVERY_INDEXES = (
    # At most one notice of an occasion; its first key also answers "about this subject".
    Index(
        "key",
        (("subject", 1), ("occasion", 1), ("series", 1), ("recipient", 1), ("channel", 1), ("copy", 1)),
        {"unique": True},
    ),
    # One at a time in a lane: only a delivery that is being sent has this field.
    Index("sending", (("sending_lane", 1),), {"unique": True, "sparse": True}),
    Index(
        "due",
        (("channel", 1), ("due_at", 1)),
        {"partialFilterExpression": {"status": DeliveryStatus.PLANNED.value}},
    ),
    Index("lease", (("lease.until", 1),), {"partialFilterExpression": {"lease.until": {"$exists": True}}}),
    Index("status", (("status", 1), ("_id", -1)), {}),
    Index("channel", (("channel", 1), ("_id", -1)), {}),
    Index("recipient", (("recipient", 1), ("_id", -1)), {}),
    Index("over", (("expires_at", 1),), {"expireAfterSeconds": 0}),
)

# Once over, an interval decides nothing any more, and its removal needs no act of ours.
_INTERVAL_INDEXES = (Index("over", (("over_at", 1),), {"expireAfterSeconds": 0}),)


async def ensure_notice_indexes(database: Database) -> None:
    """Create the indexes over deliveries and intervals where they are missing."""
    await database.ensure_indexes(DELIVERIES, _DELIVERY_INDEXES)
    await database.ensure_indexes(INTERVALS, _INTERVAL_INDEXES)
