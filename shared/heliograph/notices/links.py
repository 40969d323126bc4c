"""The signed links of notices: to hear no more, and to report a problem with a job. Neither gives access to anything.

The notifier signs them, the api checks them; what a link binds is all that it can do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from heliograph.notices.mutes import MuteScope
from heliograph.signed_links import LinkRefusedError, check, sign

SILENCE_LASTS = timedelta(days=400)  # mails lie in mailboxes for long, and the way out must still be open
REPORT_LASTS = timedelta(days=60)
_SILENCE, _REPORT = "silence", "report"
_SCOPES = frozenset(each.value for each in MuteScope)


@dataclass(frozen=True, slots=True)
class Silence:
    """What one click asks for: silence for a recipient on a channel, about everything, a job or somebody's group."""

    channel: str
    recipient: str
    scope: MuteScope
    of: str | None = None
    owner: str | None = None


def silence_token(keys: Sequence[str], silence: Silence, now: datetime) -> str:
    """Sign a silence."""
    words = (silence.channel, silence.recipient, silence.scope.value, silence.of or "", silence.owner or "")
    return sign(keys, _SILENCE, words, now + SILENCE_LASTS)


def read_silence(keys: Sequence[str], token: str, now: datetime) -> Silence:
    """Return what a token asks for; ``LinkRefusedError`` where it is not valid."""
    words, _ = check(keys, _SILENCE, token, now)
    if len(words) != 5 or words[2] not in _SCOPES:
        raise LinkRefusedError("this link is not valid")
    channel, recipient, scope, of, owner = words
    return Silence(channel, recipient, MuteScope(scope), of or None, owner or None)


def report_token(keys: Sequence[str], job: str, recipient: str, now: datetime) -> str:
    """Sign the right to report a problem with a job, for whoever was told of it."""
    return sign(keys, _REPORT, (job, recipient), now + REPORT_LASTS)


def read_report(keys: Sequence[str], token: str, now: datetime) -> tuple[str, str]:
    """Return the job that a report may be about, and who was told of it; ``LinkRefusedError`` where it is not valid."""
    words, _ = check(keys, _REPORT, token, now)
    if len(words) != 2:
        raise LinkRefusedError("this link is not valid")
    return words[0], words[1]
