"""The addresses that notices name: pages of the work, and signed links for what a reader may do about being told."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from heliograph.channels import Link
from heliograph.notices.links import Silence, report_token, silence_token
from heliograph.notices.model import Delivery
from heliograph.notices.mutes import MuteScope
from heliograph.signed_links import MOST_CHARACTERS


class Links:
    """Makes links below the api's public address; without keys, those that need no signature."""

    def __init__(self, public_url: str, keys: Sequence[str] | None) -> None:
        self._base = public_url.rstrip("/")
        self._keys = keys

    @property
    def base(self) -> str:
        """Where the api is reached."""
        return self._base

    def job_page(self, job: str, part: str = "") -> str:
        """Return the page of a job; ``part`` is a place on it, such as "log"."""
        return f"{self._base}/jobs/{quote(job)}" + (f"#{part}" if part else "")

    def work(self, job: str, *, is_begun: bool, is_repeatable: bool) -> tuple[Link, ...]:
        """Return where a job can be looked at: its page, and the places on it that there is something to see at."""
        return (
            Link("Open its page", self.job_page(job)),
            *([Link("Read its log", self.job_page(job, "log"))] if is_begun else []),
            *([Link("Repeat this request", self.job_page(job, "repeat"))] if is_repeatable else []),
        )

    def unsubscribe(self, delivery: Delivery) -> str | None:
        """Return where one click ends all notices to this recipient."""
        return self._silence(delivery, MuteScope.ALL, None, None)

    def choices(self, delivery: Delivery, job: str | None, group: tuple[str, str] | None) -> tuple[Link, ...]:
        """Return what the reader may do: report a problem, and mute the job, the group (owner and name) or all."""
        found: list[Link] = []
        if job is not None and self._keys:
            token = report_token(self._keys, job, delivery.recipient, delivery.created_at)
            found += (
                [Link("Report a problem", f"{self._base}/v1/report/{token}")] if len(token) <= MOST_CHARACTERS else []
            )
        asked = (
            ("Mute this request", MuteScope.JOB, job, None),
            ("Mute this group", MuteScope.GROUP, *((group[1], group[0]) if group else (None, None))),
            ("Stop all messages", MuteScope.ALL, None, None),
        )
        for label, scope, of, owner in asked:
            if scope is MuteScope.ALL or of is not None:
                url = self._silence(delivery, scope, of, owner)
                found += [Link(label, url)] if url else []
        return tuple(found)

    def _silence(self, delivery: Delivery, scope: MuteScope, of: str | None, owner: str | None) -> str | None:
        if not self._keys:
            return None
        at: datetime = delivery.created_at
        token = silence_token(self._keys, Silence(delivery.channel, delivery.recipient, scope, of, owner), at)
        # A longer one would not be read again: long names in letters beyond ASCII come to that.
        return f"{self._base}/v1/unsubscribe/{token}" if len(token) <= MOST_CHARACTERS else None
