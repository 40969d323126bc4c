"""What is recorded where a job asks for contacts and there are none: so that "why was nobody told" has an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from heliograph.events.model import JobEvent
from heliograph.notices.model import Delivery, DeliveryStatus, Subject
from heliograph.notices.notify import ContactRequest
from heliograph_notifier.recipients import Defaults, Recipient
from heliograph_notifier.rules import OCCASIONS, Verdict, deliver

CHANNEL = "contacts"  # no channel sends under this name; the recipient is the subject that was looked for


@dataclass(frozen=True, slots=True)
class Absence:
    """A subject for which nobody was found; ``is_failure`` where the directory could not be asked."""

    subject: str
    reason: str
    is_failure: bool = False

    @classmethod
    def of_nobody(cls, request: ContactRequest) -> "Absence":
        """Return what it means that the directory names nobody."""
        roles = f" in the role {' or '.join(request.roles)}" if request.roles else ""
        return cls(request.subject, f"no-contacts: the directory names nobody for {request.subject}{roles}")

    @classmethod
    def of_no_directory(cls, request: ContactRequest) -> "Absence":
        """Return what it means that there is no directory."""
        return cls(request.subject, "no-contacts: no contact directory is configured")

    @classmethod
    def of_unavailable(cls, request: ContactRequest, why: str) -> "Absence":
        """Return what it means that the directory was away for too long."""
        return cls(request.subject, f"contacts-unavailable: {why}", is_failure=True)


def unfound(event: JobEvent, absences: Sequence[Absence], clock: datetime) -> list[Delivery]:
    """Return a record for each absence, by what the event would have told of."""
    found = []
    for each in absences:
        delivery = deliver(
            Subject.of_job(event.data.id), OCCASIONS[event.data.state],
            Recipient(CHANNEL, each.subject, "contact", Defaults()), Verdict(False, each.reason), clock,
            series=event.data.series, seq=event.data.seq,
        )  # fmt: skip
        found.append(replace(delivery, status=DeliveryStatus.FAILED) if each.is_failure else delivery)
    return found
