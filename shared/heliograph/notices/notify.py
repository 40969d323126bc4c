"""What a job keeps of who is to be told: what the token wished, what the submission asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import structlog

from heliograph.notices.model import Wish

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """The people whom the contact directory names for a study, a project or a site, in these roles; empty for all."""

    subject: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is to be told of a job, as far as its submission knew.

    ``claimed`` are the wishes of the submitter's token, one for each channel; ``asked`` those of the submission, by
    channel, that go before them; ``named`` are further recipients whom the submission names. An urgent job's notices
    go out at any hour; of a confidential one only its outline is said where the channel is not encrypted.
    """

    is_told: bool = True
    claimed: tuple[Wish, ...] = ()
    asked: tuple[Wish, ...] = ()
    named: tuple[Wish, ...] = ()
    contacts: tuple[ContactRequest, ...] = ()
    time_zone: str | None = None
    is_urgent: bool = False
    is_confidential: bool = False

    @property
    def has_submitter(self) -> bool:
        """Whether somebody known submitted it: any token's claims amount to wishes, be they all left open."""
        return bool(self.claimed)

    def to_document(self) -> dict[str, Any]:
        """Write it; what is empty stays out. ``told`` is what a change of state looks at."""
        document: dict[str, Any] = {"told": self.is_told}
        for name in ("claimed", "asked", "named"):
            if wishes := getattr(self, name):
                document[name] = [wish.to_document() for wish in wishes]
        if self.contacts:
            document["contacts"] = [{"subject": each.subject, "roles": list(each.roles)} for each in self.contacts]
        if self.time_zone:
            document["time_zone"] = self.time_zone
        if self.is_urgent:
            document["urgent"] = True
        if self.is_confidential:
            document["confidential"] = True
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read it; a wish that cannot be read is left out and logged, so that the others are told."""
        return cls(
            is_told=document.get("told", True) is not False,
            claimed=_wishes(document.get("claimed")), asked=_wishes(document.get("asked")),
            named=_wishes(document.get("named")),
            contacts=tuple(
                ContactRequest(each["subject"], tuple(each.get("roles", ()))) for each in document.get("contacts", ())
            ),
            time_zone=document.get("time_zone"), is_urgent=document.get("urgent", False),
            is_confidential=document.get("confidential", False),
        )  # fmt: skip


def _wishes(documents: Any) -> tuple[Wish, ...]:
    wishes = []
    for document in documents or ():
        try:
            wishes.append(Wish.from_document(document))
        except (AttributeError, TypeError) as error:
            _log.error("a wish cannot be read", why=str(error))
    return tuple(wishes)
