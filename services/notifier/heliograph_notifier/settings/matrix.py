"""The settings of Matrix."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from heliograph.notices.addresses import is_matrix_user
from heliograph.settings import SealSettings
from heliograph_notifier.recipients import Defaults
from heliograph_notifier.settings.words import Words


class MatrixSettings(SealSettings):
    """How Matrix is reached. The defaults of notification claims keep the platform's own names."""

    matrix_homeserver: str | None = Field(
        default=None, pattern="^https?://", description="The homeserver of the notifier's account: https://matrix.org"
    )
    matrix_user: str | None = Field(
        default=None, validate_default=True, description="The notifier's account: @heliograph:example.org"
    )
    matrix_password: str | None = Field(default=None, repr=False, description="Its password; or else an access token")
    matrix_access_token: str | None = Field(
        default=None,
        validate_default=True,
        repr=False,
        description="An access token of the account, with a device of its own",
    )
    matrix_allowed: Annotated[Words, NoDecode] = Field(
        default=(),
        description="Whose invitations to rooms are taken, separated by commas: @ada:example.org, or a whole server "
        "as example.org; without any, those of the account's own server",
    )
    matrix_message_sending_job_submitted: bool = Field(default=True, description="Tell a submission by default")
    matrix_message_sending_job_submitted_default_interval: float = Field(
        default=1800.0, ge=0, description="Least seconds between two messages of submission of the same request"
    )
    matrix_message_sending_job_done: bool = Field(default=True, description="Tell a completion by default")
    matrix_message_sending_timeout: bool = Field(default=True, description="Tell completions after long runs")
    matrix_message_sending_timeout_default_threshold: float = Field(
        default=1800.0, ge=0, description="Seconds that a run takes at least for its completion to be told"
    )
    matrix_message_sending_job_failed: bool = Field(default=True, description="Tell a failure by default")
    matrix_lease_seconds: float = Field(
        default=15.0, ge=1, description="After this, an account whose notifier fell silent is taken over by another"
    )

    @field_validator("matrix_user")
    @classmethod
    def _is_user(cls, user: str | None, others: ValidationInfo) -> str | None:
        if user is None and others.data.get("matrix_homeserver"):
            raise ValueError("is not set, and there is a homeserver")
        if user is not None and not is_matrix_user(user):
            raise ValueError("is not a Matrix user, such as @heliograph:example.org")
        return user

    @field_validator("matrix_access_token")
    @classmethod
    def _is_a_way_in(cls, token: str | None, others: ValidationInfo) -> str | None:
        if token is None and others.data.get("matrix_homeserver") and others.data.get("matrix_password") is None:
            raise ValueError("is not set, nor is HELIOGRAPH_MATRIX_PASSWORD, and there is a homeserver")
        return token

    @property
    def matrix_defaults(self) -> Defaults:
        """What holds for Matrix where nobody states anything."""
        return Defaults(
            submitted=self.matrix_message_sending_job_submitted,
            interval_seconds=self.matrix_message_sending_job_submitted_default_interval,
            done=self.matrix_message_sending_job_done,
            done_after_threshold=self.matrix_message_sending_timeout,
            threshold_seconds=self.matrix_message_sending_timeout_default_threshold,
            failed=self.matrix_message_sending_job_failed,
        )
