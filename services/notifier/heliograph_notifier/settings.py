"""The notifier's settings."""

from pydantic import Field, field_validator

from heliograph.settings import ServiceSettings
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.message import mailbox
from heliograph_notifier.rules import Defaults


class NotifierSettings(ServiceSettings):
    """What the notifier needs to know. The defaults of notification claims keep the platform's own names."""

    smtp_url: str = Field(
        repr=False,
        description="Where mail goes: smtp://host:25, smtp+starttls://user:password@host:587 or smtps://host:465",
    )
    mail_from: str = Field(description="The sender of mails: Heliograph <heliograph@example.org>")
    contact_email: str | None = Field(default=None, description="Whom people may ask; replies to mails go there")
    email_sending_job_submitted: bool = Field(default=True, description="Mail a submission where no claim decides")
    email_sending_job_submitted_default_interval: float = Field(
        default=60.0, ge=0, description="Least seconds between two mails of submission of the same request"
    )
    email_sending_job_done: bool = Field(default=True, description="Mail a completion where no claim decides")
    email_sending_timeout: bool = Field(default=True, description="Mail completions after long runs")
    email_sending_timeout_default_threshold: float = Field(
        default=1800.0, ge=0, description="Seconds that a run takes at least for its completion to be mailed"
    )
    email_sending_job_failed: bool = Field(default=True, description="Mail a failure where no claim decides")
    senders: int = Field(default=4, ge=1, le=64, description="How many notices are sent at the same time")
    smtp_connections: int = Field(default=4, ge=1, le=16, description="Connections to the mail server at most")
    send_lease_seconds: float = Field(
        default=90.0, ge=1, description="After this, a notice whose sender fell silent is sent by another"
    )
    metrics_host: str = Field(default="0.0.0.0", description="Where health and metrics are served")  # noqa: S104 - probes come from outside the container
    metrics_port: int | None = Field(default=8002, ge=0, le=65_535, description="Port of health and metrics")

    @field_validator("smtp_url")
    @classmethod
    def _is_server(cls, url: str) -> str:
        Server.of(url)
        return url

    @field_validator("mail_from", "contact_email")
    @classmethod
    def _is_mailbox(cls, address: str | None) -> str | None:
        if address is not None:
            mailbox(address)
        return address

    @property
    def defaults(self) -> Defaults:
        """What holds where a wish leaves it open."""
        return Defaults(
            submitted=self.email_sending_job_submitted,
            interval_seconds=self.email_sending_job_submitted_default_interval,
            done=self.email_sending_job_done,
            done_after_threshold=self.email_sending_timeout,
            threshold_seconds=self.email_sending_timeout_default_threshold,
            failed=self.email_sending_job_failed,
        )
