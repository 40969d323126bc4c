"""Where a person can be reached, and which recipients are theirs to name."""

import pytest

from heliograph.errors import InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.notices.claims import claimed_wishes
from heliograph.notices.model import Wish
from heliograph.notices.preferences import Preferences
from heliograph.notices.reach import own_places, reached, require_own

ADA, ROOM = "ada@example.org", "!dome:example.org"


def preferring(*wishes: Wish) -> Preferences:
    return Preferences(ADA, {wish.channel: wish for wish in wishes})


def test_preferences_go_before_claims_field_by_field() -> None:
    claimed = claimed_wishes({"sub": ADA, "msdone": True, "msfail": True, "tem": 60})
    preferences = preferring(Wish("email", done=False, threshold_seconds=0.0))
    assert reached(claimed, preferences) == (
        Wish("email", ADA, done=False, failed=True, threshold_seconds=0.0, person=ADA),
    )


def test_a_recipient_may_come_from_either() -> None:
    claimed = claimed_wishes({"sub": ADA})
    assert [(each.channel, each.recipient) for each in reached(claimed, preferring())] == [("email", ADA)]
    preferences = preferring(Wish("email", "other@example.org"), Wish("matrix", ROOM), Wish("apprise"))
    assert [(each.channel, each.recipient) for each in reached(claimed, preferences)] == [
        ("email", "other@example.org"), ("matrix", ROOM),
    ]  # fmt: skip
    assert reached((), preferring(Wish("email", failed=True))) == ()


def test_ones_own_are_what_the_token_names_and_what_is_proven() -> None:
    claims = {"sub": "ada", "email": ADA, "mxroomid": ROOM}
    assert own_places(claims, []) == {("email", ADA), ("matrix", ROOM)}
    assert own_places({"sub": ADA, "email": "a@b"}, ["!x:y"]) == {("email", ADA), ("email", "a@b"), ("matrix", "!x:y")}
    assert own_places({"sub": "ada", "email": 7, "mxroomid": "#alias:hs"}, []) == frozenset()


@pytest.mark.parametrize(
    ("role", "channel", "recipient", "is_allowed"),
    [("user", "email", ADA, True), ("user", "email", "bob@example.org", False), ("user", "matrix", ADA, False),
     ("user", "apprise", ADA, False), ("job manager", "email", "bob@example.org", True),
     ("agent", "email", "bob@example.org", False), ("admin", "email", "no address", False),
     ("admin", "matrix", "#alias:hs", False), ("admin", "matrix", ROOM, True)],
)  # fmt: skip
def test_others_are_named_by_those_whose_roles_allow_it(
    role: str, channel: str, recipient: str, is_allowed: bool
) -> None:
    caller = Identity(ADA, frozenset({role, "user"}))
    places = own_places({"sub": ADA}, [])
    if is_allowed:
        require_own(caller, places, "field", channel, recipient)
        return
    with pytest.raises(InvalidInputError) as refused:
        require_own(caller, places, "field", channel, recipient)
    assert [fault.field for fault in refused.value.errors] == ["field"]
