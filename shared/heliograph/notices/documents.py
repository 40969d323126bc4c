"""Between stored deliveries and values."""

from collections.abc import Mapping
from typing import Any

from heliograph.notices.model import Attempt, Delivery, DeliveryStatus, Occasion, Outcome, Subject
from heliograph.storage import Document


def to_document(delivery: Delivery) -> Document:
    """Write a delivery as it is planned."""
    document: Document = {
        "_id": delivery.id, "subject": str(delivery.subject), "occasion": delivery.occasion.value,
        "series": delivery.series, "seq": delivery.seq, "channel": delivery.channel, "recipient": delivery.recipient,
        "copy": delivery.copy, "lane": delivery.lane, "status": delivery.status.value, "reason": delivery.reason,
        "created_at": delivery.created_at, "due_at": delivery.due_at, "first_due_at": delivery.due_at,
        "urgent": delivery.is_urgent, "tries": 0, "attempts": [],
    }  # fmt: skip
    optional = {
        "interval_seconds": delivery.interval_seconds, "person": delivery.person, "origin": delivery.origin,
        "time_zone": delivery.time_zone,
    }  # fmt: skip
    return document | {name: value for name, value in optional.items() if value is not None}


def to_delivery(document: Mapping[str, Any]) -> Delivery:
    """Read a delivery."""
    return Delivery(
        id=document["_id"], subject=Subject.of(document["subject"]), occasion=Occasion(document["occasion"]),
        series=document["series"], seq=document["seq"], channel=document["channel"], recipient=document["recipient"],
        status=DeliveryStatus(document["status"]), reason=document["reason"], created_at=document["created_at"],
        due_at=document["due_at"], copy=document["copy"], person=document.get("person"),
        origin=document.get("origin"), time_zone=document.get("time_zone"), is_urgent=document["urgent"],
        receipt=document.get("receipt"), sent_at=document.get("sent_at"),
        interval_seconds=document.get("interval_seconds"),
        attempts=tuple(
            Attempt(entry["at"], Outcome(entry["outcome"]), entry.get("reply")) for entry in document["attempts"]
        ),
    )  # fmt: skip
