"""A notice, as a client reads it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from heliograph.notices.model import Delivery, DeliveryStatus, Occasion


class AttemptView(BaseModel):
    """One try."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    outcome: str
    reply: str | None = Field(description="The server's own words")


class NoticeView(BaseModel):
    """Who was told what, when, over which channel; or why not."""

    model_config = ConfigDict(frozen=True)

    id: str
    job_id: str
    occasion: Occasion
    series: int
    channel: str
    recipient: str
    status: DeliveryStatus
    reason: str = Field(description="The rule that decided")
    attempts: list[AttemptView]
    receipt: str | None = Field(description="What the server answered when it took the message")
    created_at: datetime
    sent_at: datetime | None

    @classmethod
    def from_delivery(cls, delivery: Delivery) -> "NoticeView":
        """Show a delivery."""
        return cls(
            id=delivery.id, job_id=delivery.job, occasion=delivery.occasion, series=delivery.series,
            channel=delivery.channel, recipient=delivery.recipient, status=delivery.status, reason=delivery.reason,
            attempts=[AttemptView(at=each.at, outcome=each.outcome, reply=each.reply) for each in delivery.attempts],
            receipt=delivery.receipt, created_at=delivery.created_at, sent_at=delivery.sent_at,
        )  # fmt: skip


class NoticePage(BaseModel):
    """A page of notices."""

    items: list[NoticeView]
    next: str | None = None
