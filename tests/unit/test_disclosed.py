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


def read(notice: Delivery, *places: tuple[str, str]) -> Delivery:
    return disclosed(notice, ADA, frozenset(places))


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
    assert changed == {"recipient", "person"} | (set() if kind == "operators" else {"reason"})


def test_ones_own_are_read_whole() -> None:
    own = replace(NOTICE, receipt=f"250 for <{OPS}>", origin="watch")
    assert read(replace(own, person=ADA)) == replace(own, person=ADA)
    assert read(own, ("email", OPS)) == own
    assert read(own, ("matrix", OPS)).recipient == "watchers"


@pytest.mark.parametrize("reason", ["muted: everything, by grace@example.org", REASON + "; waits for the end of quiet"])
def test_what_others_wish_or_have_muted_is_theirs(reason: str) -> None:
    assert read(replace(NOTICE, origin="watch", reason=reason)).reason == "others: decided by wishes of their own"
    assert read(replace(NOTICE, reason=REASON)).reason == REASON  # a copy follows what its owner wishes


def test_nobody_reads_who_asked_for_a_copy() -> None:
    resent = replace(NOTICE, copy=1, reason="resent: asked for by root@example.org")
    for seen in (read(resent), read(resent, ("email", OPS)), read(replace(resent, origin="watch", person=ADA))):
        assert (seen.reason, seen.copy) == ("resent: asked for by an administrator", 1)


@pytest.mark.parametrize(
    ("channel", "recipient", "words", "seen"),
    [("email", OPS, "550 5.2.2 the mailbox is full", "550 5.2.2 the mailbox is full"),
     ("email", OPS, f"550 5.1.1 <{OPS}>: no such user", "550 5.1.1 operators no such user"),
     ("email", OPS, f"550 <{OPS.upper()}> unknown", "550 operators unknown"),
     ("email", OPS, "550 forwarded to root@backup.example.net", "550 forwarded to operators"),
     ("email", OPS, "550 user OPS unknown at dome.example.org.", "550 user operators unknown at operators."),
     ("email", OPS, "421 relay.dome.example.org: too many stops", "421 relay.dome.example.org: too many stops"),
     ("email", OPS, "550 see https://mail.example.org/why?who=ops", "550 see operators"),
     ("email", OPS, "554 5.7.1 [#5.7.1] refused!\nnow", "554 5.7.1 [#5.7.1] refused!\nnow"),
     ("matrix", ROOM, f"M_FORBIDDEN: not in {ROOM}, @bot:hs", "M_FORBIDDEN: not in operators operators"),
     ("matrix", ROOM, "moved to #ops:example.org", "moved to operators"),
     ("matrix", ROOM, "$event:hs", "$event:hs"),
     ("apprise", "tgram://token/chat", "sent to chat", None),
     ("email", OPS, None, None)],
)  # fmt: skip
def test_an_address_that_a_server_quotes_is_not_read(
    channel: str, recipient: str, words: str | None, seen: str | None
) -> None:
    attempts = (Attempt(NOW, Outcome.REFUSED, words),)
    found = read(replace(NOTICE, channel=channel, recipient=recipient, receipt=words, attempts=attempts))
    assert (found.receipt, found.attempts) == (seen, (Attempt(NOW, Outcome.REFUSED, seen),))


def test_nobody_is_not_called_somebody() -> None:
    assert read(replace(NOTICE, recipient="")).recipient == ""
