"""A job, a delivery about it, and the mail that they make, as its reader gets it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from heliograph.channels import Notice
from heliograph.jobs.model import Artifact, Change, Job, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Subject
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.describing.job import describe_job
from heliograph_notifier.links import Links

URL = "https://heliograph.example.org"
LINKS = Links(f"{URL}/", ["d1a9ef02b3c4958677e0aa19bcd23f48"])
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = START + timedelta(seconds=90)
IDENTIFIER = "01M7WHB0Q3TDZ9S7V2KE8PXN4C"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(300)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9m"
JOB = Job(
    id=IDENTIFIER, queue="periodogram", backend="periodogram", owner="ada@example.org", state=State.DONE, series=1,
    seq=3, attempt=1, max_attempts=3, priority=0, parameters={"period": 11}, result={"peak": 11.0}, created_at=START,
    updated_at=END, started_at=START + timedelta(seconds=30), ended_at=END,
    history=(Change("a", 1, 1, START, State.QUEUED, "ada"), Change("b", 3, 1, END, State.DONE, "worker")),
    artifacts=(Artifact("my plot.png", "file-1", "image/png", len(PICTURE), ""),),
)  # fmt: skip
DELIVERY = Delivery(
    id="d", subject=Subject.of_job(IDENTIFIER), occasion=Occasion.DONE, series=1, seq=3, channel="email",
    recipient="ada@example.org", status=DeliveryStatus.SENDING, reason="", created_at=END, due_at=END,
)  # fmt: skip
FAILURE = replace(DELIVERY, occasion=Occasion.FAILED)


def failed(message: str) -> Job:
    history = (*JOB.history[:1], Change("b", 3, 1, END, State.FAILED, "worker"))
    return replace(JOB, state=State.FAILED, error=JobError(ErrorKind.FATAL, message), history=history, result=None)


def mail(
    job: Job = JOB, delivery: Delivery = DELIVERY, picture: bytes | None = None, *, links: Links = LINKS, **made: Any
) -> EmailMessage:
    """The mail about a job; ``made`` goes to the composer, ``site`` to the notice too."""
    site = {"site": made["site"]} if "site" in made else {}
    return mail_of(describe_job(job, delivery, links, **site), delivery, picture, **made)


def mail_of(notice: Notice, delivery: Delivery, picture: bytes | None = None, **made: Any) -> EmailMessage:
    """The mail of a notice, through bytes."""
    return message_from_bytes(raw_mail(notice, delivery, picture, **made), policy=policy.default)


def raw_mail(
    notice: Notice, delivery: Delivery, picture: bytes | None = None, *, templates: Path | None = None,
    site: str = "Heliograph",
) -> bytes:  # fmt: skip
    composer = Composer("Heliograph <heliograph@example.org>", "help@example.org", templates, site)
    return composer.compose(notice, delivery, picture)


def part(message: EmailMessage, kind: str) -> str:
    """The text of a part: "plain" or "html"."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")
