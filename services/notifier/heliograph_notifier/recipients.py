"""Who may be told of a job, and with which wishes: a pure function over what is known of all of them.

For each field of a wish the first of these that states it prevails: the submission, the person's stored preferences,
the claims of the token, the platform's defaults. Watchers are treated alike, with what their watch states in the place
of the submission; where they watch their own job, it comes after the submission. Contacts and other recipients whom
the submission names have no preferences here. A copy for the operators follows what the owner wishes on the copy's
channel, whether or not the owner can be reached there; where nothing that is the owner's speaks of that channel, what
they wish where they are told.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from heliograph.jobs.model import Job
from heliograph.notices.model import Occasion, Wish
from heliograph.notices.notify import Notify
from heliograph.notices.preferences import Preferences, QuietHours
from heliograph.notices.watches import Watch, WatchKind

OPERATOR = "operator"  # the origin of copies


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds on a channel where nobody states anything; times in seconds."""

    submitted: bool = True
    interval_seconds: float = 60.0
    running: bool = True
    running_after_seconds: float = 3600.0
    done: bool = True
    done_after_threshold: bool = True
    threshold_seconds: float = 1800.0
    failed: bool = True
    digest: bool = True


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who may be told, with a wish that leaves nothing open.

    ``origin`` says how they come into it: "owner", "submission", "watch", "contact" or "operator".
    """

    channel: str
    recipient: str
    origin: str
    wish: Defaults
    person: str | None = None
    time_zone: str | None = None
    quiet_hours: QuietHours | None = None
    working_days: frozenset[int] | None = None
    urgent: frozenset[Occasion] = frozenset()


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known besides the job; preferences are by person, defaults by channel, copies are for operators."""

    preferences: Mapping[str, Preferences] = field(default_factory=dict)
    watches: Sequence[Watch] = ()
    contacts: Sequence[Wish] = ()
    copies: Sequence[Wish] = ()
    defaults: Mapping[str, Defaults] = field(default_factory=dict)


def recipients(job: Job, notify: Notify, sources: Sources) -> list[Recipient]:
    """Return all who may be told of a job; the same recipient may come up for several reasons."""
    covering = [watch for watch in sources.watches if _covers(watch, job)]
    owner: list[Recipient] = []
    copies: list[Recipient] = []
    if notify.has_submitter:  # else neither: nobody is told of what came without a token
        own = [watch.asked for watch in covering if watch.person == job.owner]
        asked = (notify.asked, *own)
        owner += _of_person("owner", job.owner, asked, notify.claimed, notify.time_zone, sources)
        copies += _copies(_layers(job.owner, asked, notify.claimed, sources), owner, sources)
    others = [
        *(_of_wish("submission", wish, sources) for wish in notify.named),
        *(_of_wish("contact", wish, sources) for wish in sources.contacts),
    ]
    for watch in covering:
        if watch.person != job.owner or not notify.has_submitter:
            others += _of_person("watch", watch.person, (watch.asked,), watch.claimed, watch.time_zone, sources)
    return [*owner, *others, *copies]


def people(job: Job, notify: Notify, watches: Iterable[Watch]) -> set[str]:
    """Return those whose preferences are needed for ``recipients``."""
    watching = {watch.person for watch in watches if _covers(watch, job)}
    return watching | ({job.owner} if notify.has_submitter else set())


def _of_person(
    origin: str, person: str, asked: Iterable[Sequence[Wish]], claimed: Sequence[Wish], time_zone: str | None,
    sources: Sources,
) -> Iterator[Recipient]:  # fmt: skip
    """Return a person's recipients, one for each channel on which anything names one."""
    preferences = sources.preferences.get(person) or Preferences(person)
    for channel, layers in _layers(person, asked, claimed, sources).items():
        address = next((wish.recipient for wish in layers if wish.recipient), None)
        if address is not None:
            yield Recipient(
                channel, address, origin, _settled(layers, sources), person, preferences.time_zone or time_zone,
                preferences.quiet_hours, preferences.working_days, preferences.urgent,
            )  # fmt: skip


def _layers(
    person: str, asked: Iterable[Sequence[Wish]], claimed: Sequence[Wish], sources: Sources
) -> dict[str, tuple[Wish, ...]]:
    """Return by channel what speaks for a person there, what prevails first."""
    preferences = sources.preferences.get(person) or Preferences(person)
    by_channel = [
        *({wish.channel: wish for wish in wishes} for wishes in asked),
        preferences.wishes,
        {wish.channel: wish for wish in claimed},
    ]
    channels = dict.fromkeys(channel for wishes in by_channel for channel in wishes)
    return {channel: tuple(wishes[channel] for wishes in by_channel if channel in wishes) for channel in channels}


def _of_wish(origin: str, wish: Wish, sources: Sources) -> Recipient:
    return Recipient(wish.channel, wish.recipient, origin, _settled((wish,), sources), wish.person)


def _settled(layers: Sequence[Wish], sources: Sources) -> Defaults:
    """Return a wish that leaves nothing open: of each field what the first layer says that states it."""
    settled: Sequence[Any] = _fields_of(sources.defaults.get(layers[0].channel) or _DEFAULTS)
    for wish in reversed(layers):
        stated = zip(_fields_of(wish), settled, strict=True)
        settled = [below if said is None else said for said, below in stated]
    return Defaults(*settled)


def _copies(layers: Mapping[str, Sequence[Wish]], owner: Sequence[Recipient], sources: Sources) -> Iterator[Recipient]:
    for wish in sources.copies:
        if stated := layers.get(wish.channel):
            settled = _settled(stated, sources)
        elif owner:
            settled = owner[0].wish
        else:
            settled = sources.defaults.get(wish.channel) or _DEFAULTS
        yield Recipient(wish.channel, wish.recipient, OPERATOR, settled)


def _covers(watch: Watch, job: Job) -> bool:
    if watch.owner is not None and watch.owner != job.owner:
        return False
    return watch.of == (job.queue if watch.kind is WatchKind.QUEUE else job.group)


_DEFAULTS = Defaults()
_fields_of = attrgetter(*(each.name for each in fields(Defaults)))
