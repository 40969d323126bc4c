"""What the client does about notices: preferences, mutes, watches, reports, the ledger, tests."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from heliograph.client.asking import Asking
from heliograph.wire import NoticeView
from heliograph.wire.bulletins import IncidentDetail, IncidentTaken, IncidentView, NoticeTestNotices, NoticeTestView
from heliograph.wire.preferences import MatrixChallenge, MatrixLinkView, PreferencesView
from heliograph.wire.silence import MuteView, WatchView


class Notifications(Asking):
    """Says who is told what, and reads who was."""

    def notifications(self) -> PreferencesView:
        """Return what the token's holder prefers to be told."""
        return PreferencesView.model_validate(self._ask("GET", "/v1/me/notifications").json())

    def set_notifications(self, **changes: Any) -> PreferencesView:
        """Change preferences, as ``email={"submitted": False}`` or ``time_zone="Europe/Zurich"``.

        None takes back what was stated.
        """
        answer = self._ask("PATCH", "/v1/me/notifications", is_repeatable=True, json=changes)
        return PreferencesView.model_validate(answer.json())

    def matrix_link(self) -> MatrixLinkView:
        """Return the Matrix user that is linked to the token's holder."""
        return MatrixLinkView.model_validate(self._ask("GET", "/v1/me/matrix").json())

    def link_matrix(self, user: str) -> MatrixChallenge:
        """Return the code that a Matrix user, as ``@ada:example.org``, has to say to the bot to be linked."""
        return MatrixChallenge.model_validate(self._ask("POST", "/v1/me/matrix", json={"user": user}).json())

    def unlink_matrix(self) -> None:
        """Forget the linked Matrix user."""
        self._ask("DELETE", "/v1/me/matrix")

    def mute(
        self, *, job: str | None = None, group: str | None = None, owner: str | None = None,
        channel: str | None = None, until: datetime | None = None, seconds: float | None = None,
    ) -> MuteView:  # fmt: skip
        """Mute a job, a group or everything, for good or for a time."""
        fields = {
            "job": job, "group": group, "owner": owner, "channel": channel, "seconds": seconds,
            "until": until.isoformat() if until else None,
        }  # fmt: skip
        return MuteView.model_validate(self._ask("POST", "/v1/mutes", json=_stated(fields)).json())

    def mutes(self) -> list[MuteView]:
        """Return the caller's mutes, the newest first."""
        return [MuteView.model_validate(item) for item in self._ask("GET", "/v1/mutes").json()["items"]]

    def unmute(self, identifier: str) -> None:
        """Remove a mute."""
        self._ask("DELETE", f"/v1/mutes/{quote(identifier, safe='')}")

    def watch(self, **fields: Any) -> WatchView:
        """Watch a ``queue``, a ``backend`` or a ``group``; ``email`` and ``matrix`` are what to be told over these."""
        return WatchView.model_validate(self._ask("POST", "/v1/watches", json=_stated(fields)).json())

    def watches(self) -> list[WatchView]:
        """Return the caller's watches, the newest first."""
        return [WatchView.model_validate(item) for item in self._ask("GET", "/v1/watches").json()["items"]]

    def unwatch(self, identifier: str) -> None:
        """Remove a watch."""
        self._ask("DELETE", f"/v1/watches/{quote(identifier, safe='')}")

    def report_incident(
        self, text: str, *, title: str | None = None, job: str | None = None, occurred_at: datetime | None = None
    ) -> IncidentTaken:
        """Tell the operators of a problem, which may be about a job."""
        occurred = occurred_at.isoformat() if occurred_at else None
        body = _stated({"text": text, "title": title, "job": job, "occurred_at": occurred})
        return IncidentTaken.model_validate(self._ask("POST", "/v1/incidents", json=body).json())

    def incidents(self, **filters: Any) -> Iterator[IncidentView]:
        """Yield reports of problems, the newest first."""
        for item in self._pages("/v1/incidents", filters):
            yield IncidentView.model_validate(item)

    def incident(self, identifier: str) -> IncidentDetail:
        """Return a report and who was told of it."""
        return IncidentDetail.model_validate(self._ask("GET", f"/v1/incidents/{quote(identifier, safe='')}").json())

    def notices(self, identifier: str) -> list[NoticeView]:
        """Return who was told of a job."""
        items = self._ask("GET", f"/v1/jobs/{quote(identifier, safe='')}/notices").json()["items"]
        return [NoticeView.model_validate(item) for item in items]

    def notices_page(self, **filters: Any) -> Iterator[NoticeView]:
        """Yield notices about anything, the newest first; ``filters`` are the list's, such as ``status="failed"``."""
        for item in self._pages("/v1/notices", filters):
            yield NoticeView.model_validate(item)

    def resend(self, identifier: str) -> NoticeView:
        """Have a notice sent again; return its copy."""
        return NoticeView.model_validate(self._ask("POST", f"/v1/notices/{quote(identifier, safe='')}/resend").json())

    def test_notices(self, *, channel: str | None = None, recipient: str | None = None) -> NoticeTestView:
        """Send a notice that says that notices arrive, on each channel or on one."""
        body = _stated({"channel": channel, "recipient": recipient})
        return NoticeTestView.model_validate(self._ask("POST", "/v1/notices/test", json=body).json())

    def tested_notices(self, identifier: str) -> NoticeTestNotices:
        """Return what became of a test."""
        answer = self._ask("GET", f"/v1/notices/test/{quote(identifier, safe='')}")
        return NoticeTestNotices.model_validate(answer.json())


def _stated(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
