"""Who is to be told of a submission: what the token and the submission say, and who may name others."""

from typing import Any

import pytest
from pydantic import ValidationError

from heliograph.admission.notify import notify_of
from heliograph.errors import InvalidInputError
from heliograph.identity.identity import ANONYMOUS, Identity
from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest, Notify
from heliograph.wire import Submission

ADA, GRACE = "ada@example.org", "grace@example.org"
ROOM = "!room:example.org"
USER = Identity(ADA, frozenset({"user"}), claims={"sub": ADA, "mxroomid": ROOM, "msfail": False, "zoneinfo": "UTC"})
CLAIMED = (Wish("email", ADA, failed=False), Wish("matrix", ROOM))
TOKEN = Notify(claimed=CLAIMED, time_zone="UTC")


def caller(*roles: str) -> Identity:
    return Identity(ADA, frozenset({"user", *roles}), claims=USER.claims)


def notify(asked: Any, by: Identity = USER) -> Notify:
    """What a job keeps, from the words of a submission as it comes over the wire, and through the database."""
    submission = Submission.model_validate_json(Submission(backend="noop").model_dump_json())
    submission = Submission.model_validate(submission.model_dump(exclude={"notify"}) | {"notify": asked})
    found = notify_of(submission.notify, by)
    assert Notify.from_document(found.to_document()) == found
    return found


def named(*others: Any, **fields: Any) -> dict[str, Any]:
    return {"recipients": list(others), **fields}


def test_a_submission_that_says_nothing_leaves_it_to_the_token() -> None:
    assert notify(True) == TOKEN
    assert notify({}) == TOKEN


def test_false_tells_nobody() -> None:
    assert notify(False) == Notify(is_told=False)
    assert notify(False).to_document() == {"told": False}


def test_wishes_of_the_submission_stand_beside_those_of_the_token() -> None:
    found = notify({"email": {"failed": True}, "matrix": {"submitted": False, "running_after_seconds": 600}})
    assert found.claimed == CLAIMED
    assert found.asked == (Wish("email", failed=True), Wish("matrix", submitted=False, running_after_seconds=600))


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"done": True}, True),
        ({"threshold_seconds": 60}, True),
        ({"done": True, "threshold_seconds": 0}, True),
        ({"done": False, "threshold_seconds": 60}, None),
        ({"done": False}, None),
        ({"failed": True}, None),
        ({}, None),
    ],
)
def test_who_asks_for_the_end_means_it_whatever_the_token_says_of_long_runs(
    asked: dict[str, Any], allowed: bool | None
) -> None:
    """``mstout`` has no word in a submission; it would keep back what was asked for expressly."""
    (wish,) = notify({"email": asked}).asked
    assert wish.done_after_threshold is allowed


def test_how_it_is_told_is_kept() -> None:
    found = notify({"urgent": True, "confidential": True})
    assert (found.is_urgent, found.is_confidential) == (True, True)


def test_without_a_token_there_is_nobody_to_tell() -> None:
    assert notify(True, ANONYMOUS) == Notify()
    assert notify({"email": {"failed": True}}, ANONYMOUS) == Notify()
    assert not notify(True, ANONYMOUS).has_submitter
    assert notify(True, Identity("robot", frozenset({"user"}))).has_submitter


@pytest.mark.parametrize("role", ["admin", "operator", "job manager", "queue manager"])
def test_some_roles_may_have_others_told(role: str) -> None:
    asked = named({"channel": "email", "recipient": GRACE, "done": True}, {"channel": "pager", "recipient": "desk 7"},
                  contacts=[{"subject": "study 5901", "roles": ["owner"]}])  # fmt: skip
    found = notify(asked, caller(role))
    assert found.named == (Wish("email", GRACE, done=True, done_after_threshold=True), Wish("pager", "desk 7"))
    assert found.contacts == (ContactRequest("study 5901", ("owner",)),)
    assert found.claimed == CLAIMED


@pytest.mark.parametrize("by", [USER, caller("agent"), caller("root"), ANONYMOUS])
@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (named({"channel": "email", "recipient": GRACE}), "notify.recipients"),
        (named({"channel": "email", "recipient": ADA}), "notify.recipients"),
        ({"contacts": [{"subject": "study 5901"}]}, "notify.contacts"),
    ],
)
def test_others_may_not(asked: dict[str, Any], field: str, by: Identity) -> None:
    with pytest.raises(InvalidInputError) as refused:
        notify(asked, by)
    (error,) = refused.value.errors
    assert error.field == field
    assert "job manager" in error.message


@pytest.mark.parametrize(
    ("channel", "recipient"),
    [
        ("email", "Ada <ada@example.org>"),
        ("email", "a@b.c,eve@example.org"),
        ("email", "a@b.c;eve@example.org"),
        ("email", "ada"),
        ("email", "ada@example.org "),
        ("email", "ada\u202e@example.org"),
        ("matrix", "#lobby:example.org"),
        ("matrix", "@ada:example.org"),
        ("matrix", "!room with spaces:example.org"),
        ("pager", "desk\u20287"),
        ("pager", "\u200b"),
    ],
)
def test_what_is_no_recipient_is_refused_by_its_place(channel: str, recipient: str) -> None:
    asked = named({"channel": "email", "recipient": GRACE}, {"channel": channel, "recipient": recipient})
    with pytest.raises(InvalidInputError) as refused:
        notify(asked, caller("admin"))
    (error,) = refused.value.errors
    assert error.field == "notify.recipients.1.recipient"


@pytest.mark.parametrize(
    "other",
    [
        {"channel": "email", "recipient": "a@b.c\r\nBcc: eve@example.org"},
        {"channel": "email", "recipient": ""},
        {"channel": "email", "recipient": 7},
        {"channel": "email", "recipient": {"$ne": 1}},
        {"channel": "email"},
        {"recipient": GRACE},
        {"channel": "E-Mail", "recipient": GRACE},
        {"channel": "../email", "recipient": GRACE},
        {"channel": "email", "recipient": GRACE, "person": "grace"},  # nobody says who stands behind a recipient
        {"channel": "email", "recipient": GRACE, "done": "yes"},
        {"channel": "email", "recipient": GRACE, "running_after_seconds": 299},
        {"channel": "email", "recipient": GRACE, "threshold_seconds": -1},
        {"channel": "email", "recipient": GRACE, "interval_seconds": float("inf")},
        {"channel": "email", "recipient": GRACE, "colour": "red"},
        GRACE,
    ],
)
def test_what_has_not_the_form_of_a_recipient_never_comes_so_far(other: Any) -> None:
    with pytest.raises(ValidationError):
        notify(named(other), caller("admin"))


@pytest.mark.parametrize("field", ["recipients", "contacts"])
def test_there_are_at_most_twenty_of_them(field: str) -> None:
    each = {"recipients": {"channel": "email", "recipient": GRACE}, "contacts": {"subject": "study 5901"}}[field]
    notify({field: [each] * 20}, caller("admin"))
    with pytest.raises(ValidationError):
        notify({field: [each] * 21}, caller("admin"))


@pytest.mark.parametrize("broken", ["ada", {"recipient": "x"}, None, 7, [1]])
def test_a_stored_wish_that_cannot_be_read_is_left_out(broken: Any) -> None:
    document = {"told": True, "claimed": [broken, {"channel": "email", "recipient": ADA}], "named": [broken]}
    assert Notify.from_document(document) == Notify(claimed=(Wish("email", ADA),))
