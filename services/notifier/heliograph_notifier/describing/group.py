"""What a notice says of a group: that it has begun, that many of its jobs fail, what became of it."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from heliograph.channels import Link, Notice, Row, Section
from heliograph.ids import short_id
from heliograph.jobs.model import Job
from heliograph.jobs.sets import FailedJob, Tally
from heliograph.jobs.states import OVER, State
from heliograph.notices.model import Delivery, Occasion, Subject
from heliograph_notifier.campaigns.model import Campaign
from heliograph_notifier.describing.job import describe_job
from heliograph_notifier.describing.whose import whose, why
from heliograph_notifier.links import Links
from heliograph_notifier.readable import clean, duration, moment, one_line
from heliograph_notifier.rules import OCCASIONS

MOST_NAME = 60  # characters of a name, where an error stands beside it


def describe_group(
    campaign: Campaign, tally: Tally, failed: Sequence[FailedJob], delivery: Delivery, links: Links,
    site: str = "Heliograph",
) -> Notice:  # fmt: skip
    """Return what to say of a campaign; ``tally`` counts its jobs, and ``failed`` holds the first that failed."""
    group, short = one_line(campaign.group, MOST_NAME), short_id(campaign.id)
    begun_at = moment(campaign.opened_at, delivery.time_zone)
    is_begin = delivery.occasion is Occasion.SUBMITTED
    shown = () if is_begin else failed
    facts = "" if is_begin else f", {_facts(tally, delivery.occasion)}"
    return Notice(
        subject=delivery.subject,
        occasion=delivery.occasion,
        state=_state(tally, delivery.occasion),
        short_id=short,
        product=group,
        title=f"[{one_line(site, 60)}] {delivery.occasion}: {group}{facts}, requested {begun_at}, group {short}",
        headline=f"{whose('group', delivery, campaign.owner)} {_headline(tally, delivery.occasion)}",
        summary=_summary(campaign, group, tally, delivery.occasion),
        thread=_thread(campaign),
        outline=_outline(campaign, tally, delivery),
        sections=_failures(tally, shown),
        links=_pages(shown, links),
        choices=links.choices(delivery, None, (campaign.owner, campaign.group)),
        why=why(delivery, campaign.owner),
        unsubscribe=links.unsubscribe(delivery),
        command=_command(campaign, delivery, links),
        is_confidential=campaign.is_confidential or any(job.is_confidential for job in shown),
    )


def describe_only(
    campaign: Campaign, job: Job, delivery: Delivery, links: Links, site: str = "Heliograph"
) -> Notice:  # fmt: skip
    """Return what to say of a campaign that is over and had one job: what that job's own notice says."""
    of_job = replace(
        delivery, subject=Subject.of_job(job.id), occasion=OCCASIONS[job.state], series=job.series, seq=job.seq
    )
    notice = describe_job(job, of_job, links, site)
    return replace(
        notice,
        subject=delivery.subject,
        thread=_thread(campaign),
        is_confidential=campaign.is_confidential or notice.is_confidential,
    )


def _thread(campaign: Campaign) -> str:
    return f"group.{campaign.id.lower()}"


def _state(tally: Tally, occasion: Occasion) -> str:
    return tally.state.value if occasion is Occasion.DIGEST else occasion.value


def _headline(tally: Tally, occasion: Occasion) -> str:
    match occasion:
        case Occasion.SUBMITTED:
            return "has been submitted"
        case Occasion.FAILING:
            return "has many failures"
        case _ if tally.state is State.FAILED:
            return "is over, with failures"
        case _ if tally.state is State.CANCELLED:
            return "is over; some of it was cancelled"
        case _:
            return "is done"


def _summary(campaign: Campaign, group: str, tally: Tally, occasion: Occasion) -> str:
    match occasion:
        case Occasion.SUBMITTED:
            return f"The first jobs of {group} are queued. You will hear of the group as a whole, not of each job."
        case Occasion.FAILING:
            return f"{group}: {_failing(tally)}{_rest(tally.total - tally.over)}."
        case _:
            return (
                f"{group}: {_counts(tally)}, {duration(_end(campaign) - campaign.opened_at)} after the first request."
            )


def _facts(tally: Tally, occasion: Occasion) -> str:
    return _failing(tally) if occasion is Occasion.FAILING else _counts(tally)


def _failing(tally: Tally) -> str:
    return f"{_number(tally, State.FAILED)} of {tally.over:,} failed so far"


def _counts(tally: Tally) -> str:
    """Write how many ended how: 487 done, 13 failed."""
    words = (f"{_number(tally, state)} {state}" for state in OVER if tally.by_state.get(state))
    return ", ".join(words) or "no jobs"


def _number(tally: Tally, state: State) -> str:
    return f"{tally.by_state.get(state, 0):,}"


def _rest(count: int) -> str:
    match count:
        case 0:  # they ended while the notice waited
            return ""
        case 1:
            return ", and 1 job is still to come"
        case _:
            return f", and {count:,} jobs are still to come"


def _outline(campaign: Campaign, tally: Tally, delivery: Delivery) -> tuple[Row, ...]:
    rows: list[Row] = [("Group", one_line(campaign.group)), ("Requested by", one_line(campaign.owner))]
    rows += [(state.value.capitalize(), _number(tally, state)) for state in State if tally.by_state.get(state)]
    rows.append(("First request", moment(campaign.opened_at, delivery.time_zone, seconds=True)))
    if delivery.occasion is Occasion.DIGEST:
        rows.append(("Over", moment(_end(campaign), delivery.time_zone, seconds=True)))
        rows.append(("Took", duration(_end(campaign) - campaign.opened_at)))
    return tuple(rows)


def _end(campaign: Campaign) -> datetime:
    return campaign.through or campaign.news_at


def _failures(tally: Tally, failed: Sequence[FailedJob]) -> tuple[Section, ...]:
    if not failed:
        return ()
    rows: list[Row] = [(_name(job), one_line(job.message or "no reason was given")) for job in failed]
    if (rest := tally.by_state.get(State.FAILED, 0) - len(rows)) > 0:
        rows.append(("…", f"and {rest:,} more"))
    return (Section("Failed, in this order", tuple(rows)),)


def _name(job: FailedJob) -> str:
    short = short_id(job.id)
    return f"{one_line(job.name, MOST_NAME)} {short}" if job.name else short


def _pages(failed: Sequence[FailedJob], links: Links) -> tuple[Link, ...]:
    return (Link("Read the log of the first that failed", links.job_page(failed[0].id, "log")),) if failed else ()


def _command(campaign: Campaign, delivery: Delivery, links: Links) -> str | None:
    """Return what shows the group; others than its owner have to say whose it is.

    None where a name holds what is left out of notices: with anything else in its place, it would be another group.
    """
    names = (campaign.group, campaign.owner)
    if any(clean(name) != name or one_line(name, len(name)) != name for name in names):
        return None
    whose = "" if delivery.person == campaign.owner else f" --owner {shlex.quote(campaign.owner)}"
    return f"heliograph group {shlex.quote(campaign.group)}{whose} --url {links.base}"
