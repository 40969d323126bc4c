"""A notice, as a client reads it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from heliograph.notices.model import Delivery, DeliveryStatus, Occasion


class AttemptView(BaseModel):
    """One try."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    outcome: str
    reply: str | None = Field(description="The server's own words; of a notice to others, its code alone")


class NoticeView(BaseModel):
    """Who was told what, when, over which channel; or why not."""

    model_config = ConfigDict(frozen=True)

    id: str
    subject: str = Field(description="What it is about: `job:…`, `group:…`, `incident:…` or `test:…`")
    job_id: str | None
    occasion: Occasion
    series: int
    channel: str
    recipient: str = Field(
        description="An address or a room; where that is not the caller's to know, who they are: `operators`, "
        "`watchers`, `contacts`, `named`, `owner` or `others`"
    )
    status: DeliveryStatus
    reason: str = Field(description="The rule that decided")
    attempts: list[AttemptView]
    receipt: str | None = Field(
        description="What the server answered when it took the message; of a notice to others, its code alone"
    )
    copy_number: int = Field(description="Above 0 for what was sent again on request")
    created_at: datetime
    due_at: datetime = Field(description="When it is sent, or tried again")
    sent_at: datetime | None

    @classmethod
    def from_delivery(cls, delivery: Delivery) -> "NoticeView":
        """Show a delivery."""
        return cls(
            id=delivery.id, subject=str(delivery.subject), job_id=delivery.job, occasion=delivery.occasion,
            series=delivery.series, channel=delivery.channel, recipient=delivery.recipient, status=delivery.status,
            reason=delivery.reason, receipt=delivery.receipt, copy_number=delivery.copy,
            attempts=[AttemptView(at=each.at, outcome=each.outcome, reply=each.reply) for each in delivery.attempts],
            created_at=delivery.created_at, due_at=delivery.due_at, sent_at=delivery.sent_at,
        )  # fmt: skip


class NoticePage(BaseModel):
    """A page of notices."""

    items: list[NoticeView]
    next: str | None = None
