"""What people are told of a campaign: pure functions over values.

At most three words: that it has begun, early that many of its jobs fail, and at its end what became of it. The last
goes to whoever wishes to hear of failures where there are any, and else by the rule of completions, applied to the
time that the whole took.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from heliograph.jobs.sets import Tally
from heliograph.jobs.states import State
from heliograph.notices.model import Delivery, Occasion
from heliograph.notices.mutes import Mute
from heliograph_notifier.campaigns.model import Campaign, Member
from heliograph_notifier.recipients import Recipient
from heliograph_notifier.rules import Verdict, deliver, judge_done, judge_submitted, muted, silence


@dataclass(frozen=True, slots=True)
class Terms:
    """When a campaign is told: how long it has to be over, and the share of so many ended jobs that is many."""

    settle_seconds: float = 20.0
    failing_share: float = 0.25
    failing_least: int = 10


class _Word(NamedTuple):
    occasion: Occasion
    seq: int  # in this order they go out to one recipient


_BEGUN, _FAILING, _OVER = _Word(Occasion.SUBMITTED, 1), _Word(Occasion.FAILING, 2), _Word(Occasion.DIGEST, 3)


def is_failing(tally: Tally, terms: Terms) -> bool:
    """Say whether so many jobs fail that people want to know before the end; of what is over they hear anyway."""
    failed = tally.by_state.get(State.FAILED, 0)
    return not tally.is_over and tally.over >= terms.failing_least and failed >= terms.failing_share * tally.over


def word_of_begin(campaign: Campaign, mutes: Sequence[Mute], clock: datetime) -> list[Delivery]:
    """Return what tells of the beginning, to those for whom that is not settled."""
    members = [each for each in campaign.members if each.saw_begin and each.key not in campaign.begun]
    return _told(_BEGUN, campaign, members, mutes, campaign.opened_at, clock, judge_submitted)


def word_of_failing(campaign: Campaign, tally: Tally, mutes: Sequence[Mute], clock: datetime) -> list[Delivery]:
    """Return what tells early that many jobs fail."""
    facts = f"{tally.by_state.get(State.FAILED, 0)} of {tally.over} failed so far"

    def judge(to: Recipient) -> Verdict:
        word, switch = ("wished", "on") if to.wish.failed else ("not-wished", "off")
        return Verdict(to.wish.failed, f"failing-{word}: {facts}, and notices of failure are {switch}")

    return _told(_FAILING, campaign, campaign.members, mutes, clock, clock, judge, is_bad=True)


def digest(campaign: Campaign, mutes: Sequence[Mute], clock: datetime) -> list[Delivery]:
    """Return what tells of the end of a campaign that is closing."""
    tally, end = campaign.tally or Tally({}), campaign.through or campaign.opened_at
    failed = tally.by_state.get(State.FAILED, 0)

    def judge(to: Recipient) -> Verdict:
        if not tally.total:
            return Verdict(False, "digest-empty: none of its jobs is kept any more")
        if failed and to.wish.failed:
            return Verdict(True, f"digest-failed: {failed} of {tally.total} failed, and notices of failure are on")
        return judge_done(to, max(end - campaign.opened_at, timedelta(0)))

    at = campaign.closed_at or clock
    return _told(_OVER, campaign, campaign.members, mutes, at, clock, judge, is_bad=failed > 0)


def _told(
    word: _Word, campaign: Campaign, members: Iterable[Member], mutes: Sequence[Mute], at: datetime, clock: datetime,
    judge: Callable[[Recipient], Verdict], *, is_bad: bool = False,
) -> list[Delivery]:  # fmt: skip
    """Return what a word amounts to for each member; what ``is_bad`` is as urgent to them as a failure."""
    deliveries = []
    for member in members:
        mute = silence(mutes, member.to, at, job=None, group=(campaign.owner, campaign.group))
        verdict = Verdict(False, muted(mute)) if mute else judge(member.to)
        is_urgent = campaign.is_urgent or (is_bad and Occasion.FAILED in member.to.urgent)
        deliveries.append(
            deliver(campaign.subject, word.occasion, member.to, verdict, clock, seq=word.seq, is_urgent=is_urgent)
        )
    return deliveries
