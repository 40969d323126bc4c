"""What somebody may read of notices to others: that these were told, and not at which address."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from heliograph.notices.disclosed import disclosed
from heliograph.notices.model import Attempt, Delivery, DeliveryStatus, Occasion, Outcome, Subject, SubjectKind

ADA, OPS, ROOM = "ada@example.org", "ops@dome.example.org", "!night:example.org"
NOW = datetime(2030, 1, 31, 20, tzinfo=UTC)
REASON = "done-above-threshold: it took an hour"
JOB = Subject.of_job("01J")
NOTICE = Delivery(
    "1", JOB, Occasion.DONE, 1, 2, "email", OPS, DeliveryStatus.SENT, REASON, NOW, NOW, origin="operator",
    attempts=(Attempt(NOW, Outcome.TRY_LATER, "451 4.7.1 greylisted"), Attempt(NOW, Outcome.SENT, "250 queued as 1")),
    receipt="250 queued as 1", sent_at=NOW,
)  # fmt: skip


def read(notice: Delivery, *places: tuple[str, str], named: tuple[str, str] | None = None) -> Delivery:
    return disclosed(notice, ADA, frozenset(places), frozenset([named] if named else ()))


@pytest.mark.parametrize(
    ("subject", "origin", "kind"),
    [(JOB, "operator", "operators"), (JOB, "watch", "watchers"), (JOB, "contact", "contacts"),
     (JOB, "submission", "named"), (JOB, "owner", "owner"), (JOB, None, "others"), (JOB, "of tomorrow", "others"),
     (Subject(SubjectKind.INCIDENT, "1"), None, "operators"), (Subject(SubjectKind.GROUP, "1"), "watch", "watchers")],
)  # fmt: skip
def test_of_others_one_reads_what_they_are_and_how_it_ended(subject: Subject, origin: str | None, kind: str) -> None:
    notice = replace(NOTICE, subject=subject, origin=origin, person="grace")
    seen = read(notice)
    changed = {name for name, value in asdict(seen).items() if value != asdict(notice)[name]}
    assert (seen.recipient, seen.person) == (kind, None)
    assert changed == {"recipient", "person", "receipt", "attempts"} | (set() if kind == "operators" else {"reason"})


def test_ones_own_are_read_whole() -> None:
    own = replace(NOTICE, receipt=f"250 for <{OPS}>", origin="watch")
    assert read(replace(own, person=ADA)) == replace(own, person=ADA)
    assert read(own, ("email", OPS)) == own
    assert read(own, ("matrix", OPS)).recipient == "watchers"


@pytest.mark.parametrize("origin", ["submission", "watch", "contact", "operator", None])
def test_who_named_an_address_reads_it_and_not_what_is_wished_there(origin: str | None) -> None:
    muted = replace(
        NOTICE, origin=origin, person="grace", status=DeliveryStatus.SUPPRESSED, reason="muted: everything, by a link"
    )
    seen = read(muted, named=("email", OPS))
    assert (seen.recipient, seen.person, seen.reason) == (OPS, None, "others: decided by wishes of their own")
    assert (seen.receipt, [each.reply for each in seen.attempts]) == ("250", ["451 4.7.1", "250"])
    assert read(muted, named=("matrix", OPS)).recipient != OPS
    own = read(muted, ("email", OPS), named=("email", OPS))
    assert own == muted


@pytest.mark.parametrize("reason", ["muted: everything, by grace@example.org", REASON + "; waits for the end of quiet"])
def test_what_others_wish_or_have_muted_is_theirs(reason: str) -> None:
    assert read(replace(NOTICE, origin="watch", reason=reason)).reason == "others: decided by wishes of their own"
    assert read(replace(NOTICE, reason=REASON)).reason == REASON  # a copy follows what its owner wishes


def test_nobody_reads_who_asked_for_a_copy() -> None:
    resent = replace(NOTICE, copy=1, reason="resent: asked for by root@example.org")
    for seen in (read(resent), read(resent, ("email", OPS)), read(replace(resent, origin="watch", person=ADA))):
        assert (seen.reason, seen.copy) == ("resent: asked for by an administrator", 1)


@pytest.mark.parametrize(
    ("channel", "words", "seen"),
    [("email", "550 5.2.2 the mailbox is full", "550 5.2.2"), ("email", "550 no mailbox ops", "550"),
     ("email", "250 2.0.0 Ok: queued by mx1.dome.example.org", "250 2.0.0"), ("email", "550 5.1.1", "550 5.1.1"),
     ("email", "451", "451"), ("email", "421 4.7.0\nops, too many stops", "421 4.7.0"),
     ("email", f"550 5.1.1-{OPS}", "550"), ("email", "550 5.1.1.ops", "550"), ("email", f"550-{OPS}", None),
     ("email", "2500 ops", None), ("email", "no connection to mail.dome.example.org", None), ("email", "", None),
     ("email", "\u0665\u0665\u0660 ops", None), ("email", "mx1.dome.example.org: 451 greylisted", None),
     ("matrix", f"M_FORBIDDEN not in {ROOM}, @bot:hs", "M_FORBIDDEN"), ("matrix", "M_UNKNOWN", "M_UNKNOWN"),
     ("matrix", "M_FORBIDDEN; invite @bot:hs into the room", "M_FORBIDDEN"),
     ("matrix", "HTTP 502", "HTTP 502"), ("matrix", "HTTP 502 hs", "HTTP 502"), ("matrix", "M_ops:hs", None),
     ("matrix", "ORG.DOME.OPS is away", None), ("matrix", "$event:hs", None), ("matrix", "$eventOfNow", None),
     ("apprise", "250 sent to chat", None), ("email", None, None)],
)  # fmt: skip
def test_of_what_a_server_said_to_others_only_its_code_is_read(
    channel: str, words: str | None, seen: str | None
) -> None:
    attempts = (Attempt(NOW, Outcome.REFUSED, words),)
    found = read(replace(NOTICE, channel=channel, receipt=words, attempts=attempts))
    assert (found.receipt, found.attempts) == (seen, (Attempt(NOW, Outcome.REFUSED, seen),))


def test_nobody_is_not_called_somebody() -> None:
    assert read(replace(NOTICE, recipient="")).recipient == ""
