"""A campaign as the notifier sees it: who is told of a group, and how far the telling has come."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, time
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self

from heliograph.jobs.sets import Outcome, Tally
from heliograph.jobs.states import State
from heliograph.notices.model import Occasion, Subject, SubjectKind
from heliograph.notices.preferences import QuietHours
from heliograph_notifier.recipients import Defaults, Recipient


class CampaignState(StrEnum):
    """Where a campaign stands."""

    OPEN = "open"  # jobs may still come to it
    CLOSING = "closing"  # it is decided what became of it; the digest is not stored for everybody yet
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who is told of a campaign; ``saw_begin`` where they would have been told of a job's submission."""

    to: Recipient
    saw_begin: bool = False

    @property
    def key(self) -> str:
        """What they are kept under: neither a channel nor an address can stand in the name of a field."""
        return sha256(f"{self.to.channel}|{self.to.recipient}".encode()).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """Write one as it is stored."""
        to = self.to
        return {
            "channel": to.channel, "recipient": to.recipient, "origin": to.origin, "wish": asdict(to.wish),
            "person": to.person, "time_zone": to.time_zone,
            "quiet_hours": [to.quiet_hours.begin.isoformat("minutes"), to.quiet_hours.end.isoformat("minutes")]
            if to.quiet_hours else None,
            "working_days": sorted(to.working_days) if to.working_days is not None else None,
            "urgent": sorted(to.urgent),
        } | ({"saw_begin": True} if self.saw_begin else {})  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read one; what a newer version added is passed over."""
        quiet, days = document["quiet_hours"], document["working_days"]
        switches = {each.name for each in fields(Defaults)}
        occasions = {each.value: each for each in Occasion}
        return cls(
            Recipient(
                document["channel"], document["recipient"], document["origin"],
                Defaults(**{name: value for name, value in document["wish"].items() if name in switches}),
                document["person"], document["time_zone"],
                QuietHours(time.fromisoformat(quiet[0]), time.fromisoformat(quiet[1])) if quiet else None,
                frozenset(days) if days is not None else None,
                frozenset(occasions[each] for each in document["urgent"] if each in occasions),
            ),
            document.get("saw_begin", False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class News:
    """What a change of one job brings to its campaign: when it was, and who is to be told with the group."""

    owner: str
    group: str
    at: datetime
    members: tuple[Member, ...]
    is_urgent: bool = False
    is_confidential: bool = False


@dataclass(frozen=True, slots=True)
class Campaign:
    """The work of one owner in one group, from its first news until all of it is over.

    ``opened_at`` is the time of the earliest change that is told with it, ``news_at`` when the last one was noted;
    ``version`` counts those. ``begun`` are the keys of the members whose word of the beginning is settled, and
    ``is_failing_settled`` says the same of the early word. Once it is closing, ``tally`` is what became of its jobs,
    ``through`` when the last of them ended, and ``closed_at`` when that was decided.
    """

    id: str
    owner: str
    group: str
    state: CampaignState
    opened_at: datetime
    news_at: datetime
    version: int
    members: tuple[Member, ...]
    begun: frozenset[str] = frozenset()
    is_failing_settled: bool = False
    is_urgent: bool = False
    is_confidential: bool = False
    tally: Tally | None = None
    through: datetime | None = None
    closed_at: datetime | None = None

    @property
    def subject(self) -> Subject:
        """What its notices are about."""
        return Subject(SubjectKind.GROUP, self.id)

    def quiet_since(self, outcome: Outcome) -> datetime:
        """Return when the last was heard of it: news, or the end of a job of which nobody is told."""
        return max(self.news_at, outcome.ended_at or self.news_at)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read one."""
        tally = document.get("tally")
        return cls(
            id=document["_id"], owner=document["owner"], group=document["group"],
            state=CampaignState(document["state"]), opened_at=document["opened_at"], news_at=document["news_at"],
            version=document["version"],
            members=tuple(Member.from_document(each) for each in document["members"].values()),
            begun=frozenset(document.get("begun", ())),
            is_failing_settled=document.get("failing_settled", False), is_urgent=document.get("urgent", False),
            is_confidential=document.get("confidential", False),
            tally=Tally({State(state): count for state, count in tally.items()}) if tally is not None else None,
            through=document.get("through"), closed_at=document.get("closed_at"),
        )  # fmt: skip
