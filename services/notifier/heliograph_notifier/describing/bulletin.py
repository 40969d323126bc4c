"""What a notice says of a report to the operators, or of a test."""

import shlex

from heliograph.channels import Link, Notice
from heliograph.ids import short_id
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import Delivery, SubjectKind
from heliograph_notifier.links import Links
from heliograph_notifier.readable import clean, moment, one_line


def describe_bulletin(bulletin: Bulletin, delivery: Delivery, links: Links, site: str = "Heliograph") -> Notice:
    """Return what to say of a bulletin."""
    short, by = short_id(bulletin.id), one_line(bulletin.by)
    is_test = bulletin.kind is SubjectKind.TEST
    title = one_line(bulletin.title or ("a test of notices" if is_test else "a problem is reported"), 120)
    place = one_line(site, 60)
    at = moment(bulletin.created_at, delivery.time_zone)
    rows = [("By", by), ("At", moment(bulletin.created_at, delivery.time_zone, seconds=True))]
    if bulletin.occurred_at:
        rows.append(("Occurred", moment(bulletin.occurred_at, delivery.time_zone, seconds=True)))
    if bulletin.job:
        rows.append(("Job", one_line(bulletin.job)))
    if is_test:
        rows += [("Channel", delivery.channel), ("To", one_line(delivery.recipient))]
    return Notice(
        subject=delivery.subject,
        occasion=delivery.occasion,
        state=delivery.occasion.value,
        short_id=short,
        product=title,
        title=f"[{place}] {delivery.occasion}: {title}, {at}, {short}",
        headline=f"Notices of {place} arrive here" if is_test else title[:1].upper() + title[1:],
        summary=f"{by} asked for this test; there is nothing to do." if is_test else f"{by} reports a problem.",
        thread=f"{bulletin.kind}.{bulletin.id.lower()}",
        outline=tuple(rows),
        message=clean(bulletin.text).strip() or None,
        why=f"Somebody tried whether messages of {place} arrive here."
        if is_test
        else f"Reports of problems at {place} go to this address.",
        links=_pages(bulletin.job, links) if bulletin.job else (),
        command=f"heliograph show {shlex.quote(bulletin.job)} --url {links.base}" if bulletin.job else None,
    )


def _pages(job: str, links: Links) -> tuple[Link, ...]:
    return (Link("Open the job's page", links.job_page(job)), Link("Read the job's log", links.job_page(job, "log")))
