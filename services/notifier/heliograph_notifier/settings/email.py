"""The settings of mail."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from heliograph.settings import ServiceSettings
from heliograph_notifier.channels.connections import Server
from heliograph_notifier.channels.message import mailbox
from heliograph_notifier.recipients import Defaults


class EmailSettings(ServiceSettings):
    """How mail is sent. The defaults of notification claims keep the platform's own names."""

    smtp_url: str | None = Field(
        default=None,
        repr=False,
        description="Where mail goes: smtp://host:25, smtp+starttls://user:password@host:587 or smtps://host:465",
    )
    smtp_ca_file: Path | None = Field(
        default=None, description="Certificates to trust besides the system's, for a mail server of one's own"
    )
    smtp_connections: int = Field(default=4, ge=1, le=16, description="Connections to the mail server at most")
    mail_from: str | None = Field(
        default=None,
        validate_default=True,
        description="The sender of mails: Heliograph <heliograph@example.org>",
    )
    contact_email: str | None = Field(default=None, description="Whom people may ask; replies to mails go there")
    mail_templates: Path | None = Field(
        default=None, description="A folder with templates of this site's own, which go before those that ship"
    )
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

    @field_validator("smtp_url")
    @classmethod
    def _is_server(cls, url: str | None) -> str | None:
        if url is not None:
            Server.of(url)
        return url

    @field_validator("mail_from", "contact_email")
    @classmethod
    def _is_mailbox(cls, address: str | None) -> str | None:
        if address is not None:
            mailbox(address)
        return address

    @field_validator("mail_from")
    @classmethod
    def _is_there(cls, address: str | None, others: ValidationInfo) -> str | None:
        if address is None and others.data.get("smtp_url"):
            raise ValueError("is not set, and there is a mail server")
        return address

    @field_validator("mail_templates")
    @classmethod
    def _is_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError(f"names {folder}, which is no folder")
        return folder

    @property
    def email_defaults(self) -> Defaults:
        """What holds for mail where nobody states anything."""
        return Defaults(
            submitted=self.email_sending_job_submitted,
            interval_seconds=self.email_sending_job_submitted_default_interval,
            done=self.email_sending_job_done,
            done_after_threshold=self.email_sending_timeout,
            threshold_seconds=self.email_sending_timeout_default_threshold,
            failed=self.email_sending_job_failed,
        )
