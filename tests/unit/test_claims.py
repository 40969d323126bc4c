"""What the claims of a token wish; a claim of the wrong type counts as absent."""

import math
from typing import Any

import pytest

from heliograph.notices.claims import (
    CLAIMS,
    address_of,
    addresses_of,
    claimed_wishes,
    claims_of,
    room_of,
    time_zone_of,
)
from heliograph.notices.model import Wish

ADA = "ada@example.org"
ROOM = "!kYvXbZ:example.org"
NOTHING = (Wish("email"), Wish("matrix"))


def test_every_claim_of_mail_has_its_wish() -> None:
    claims = {"sub": ADA, "mssub": True, "intsub": 1800, "msdone": False, "mstout": True, "tem": 60.5, "msfail": False}
    email, matrix = claimed_wishes(claims)
    assert email == Wish(
        "email", ADA, submitted=True, interval_seconds=1800, done=False, done_after_threshold=True,
        threshold_seconds=60.5, failed=False,
    )  # fmt: skip
    assert matrix == Wish("matrix")


def test_every_claim_of_matrix_has_its_wish() -> None:
    claims = {
        "mxroomid": ROOM,
        "mxsub": False,
        "mxintsub": 0,
        "mxdone": True,
        "mxstout": False,
        "tmx": 7,
        "mxfail": True,
    }
    email, matrix = claimed_wishes(claims)
    assert email == Wish("email")
    assert matrix == Wish(
        "matrix", ROOM, submitted=False, interval_seconds=0, done=True, done_after_threshold=False,
        threshold_seconds=7, failed=True,
    )  # fmt: skip


def test_what_is_absent_is_left_to_others() -> None:
    assert claimed_wishes({}) == NOTHING
    assert claimed_wishes({"sub": ADA, "mxroomid": ROOM}) == (Wish("email", ADA), Wish("matrix", ROOM))


def test_wishes_stand_also_where_the_token_names_no_recipient() -> None:
    """Somebody's preferences may name one."""
    email, _ = claimed_wishes({"sub": "ada", "msfail": False})
    assert email == Wish("email", failed=False)


@pytest.mark.parametrize(
    ("claims", "recipient"),
    [
        ({"sub": ADA, "email": "other@example.org"}, ADA),
        ({"sub": "ada", "email": ADA}, ADA),
        ({"email": ADA}, ADA),
        ({"email": ADA, "email_verified": True}, ADA),
        ({"email": ADA, "email_verified": False}, None),
        ({"sub": ADA, "email_verified": False}, ADA),
        ({"sub": "adé@exämple.org"}, "adé@exämple.org"),
        ({"sub": "o'hara+jobs@example.org"}, "o'hara+jobs@example.org"),
    ],
)
def test_the_subject_is_told_where_it_is_an_address(claims: dict[str, Any], recipient: str | None) -> None:
    assert address_of(claims) == recipient
    assert claimed_wishes(claims)[0].recipient == (recipient or "")


def test_all_addresses_of_a_token_are_its_holders_but_unverified_ones() -> None:
    claims = {"sub": ADA, "email": "other@example.org"}
    assert addresses_of(claims) == (ADA, "other@example.org")
    assert addresses_of(claims | {"email_verified": False}) == (ADA,)


@pytest.mark.parametrize(
    "address",
    ["ada", "@example.org", "ada@", "", " ada@example.org", "ada @example.org", "ada@example.org\n", 7, None, [ADA],
     "ada@example.org\r\nBcc: eve@example.org", "a@b.c,eve@example.org", "eve@example.org;ada@b.c", "<ada@example.org>",
     "Ada <ada@example.org>", "a" * 251 + "@b.c", "ada@eve@example.org", "\ud800@example.org",
     "ada\u202e@example.org", "ada@example.org\u2028"],
)  # fmt: skip
def test_what_is_no_single_address_is_told_nothing(address: Any) -> None:
    assert claimed_wishes({"sub": address}) == claimed_wishes({"email": address}) == NOTHING


@pytest.mark.parametrize("room", [ROOM, "!opaque-room-of-version-12", "!" + "x" * 254])
def test_a_room_is_told_by_its_identifier(room: str) -> None:
    assert room_of({"mxroomid": room}) == room


@pytest.mark.parametrize(
    "room", ["", "!", "#lobby:example.org", "@ada:example.org", "!a b:c", "!a:b\n", "!é:example.org", "!" + "x" * 255,
             7, None, [ROOM]],
)  # fmt: skip
def test_what_is_no_room_is_told_nothing(room: Any) -> None:
    assert claimed_wishes({"mxroomid": room}) == NOTHING


@pytest.mark.parametrize("value", ["yes", 1, 0, None, [], {}])
@pytest.mark.parametrize("claim", ["mssub", "msdone", "mstout", "msfail", "mxsub", "mxdone", "mxstout", "mxfail"])
def test_only_a_boolean_says_yes_or_no(claim: str, value: Any) -> None:
    assert claimed_wishes({claim: value}) == NOTHING


@pytest.mark.parametrize("value", ["60", True, None, [], -1, math.nan, math.inf, -math.inf, 1e300, 10**400])
@pytest.mark.parametrize("claim", ["intsub", "tem", "mxintsub", "tmx"])
def test_only_a_number_of_seconds_is_a_time(claim: str, value: Any) -> None:
    assert claimed_wishes({claim: value}) == NOTHING


def test_zero_is_a_time() -> None:
    email, matrix = claimed_wishes({"tem": 0, "intsub": 0, "tmx": 0, "mxintsub": 0})
    assert email == Wish("email", interval_seconds=0, threshold_seconds=0)
    assert matrix == Wish("matrix", interval_seconds=0, threshold_seconds=0)


@pytest.mark.parametrize("zone", ["Europe/Zurich", "UTC", "America/Argentina/Buenos_Aires"])
def test_a_time_zone_is_one_that_is_known(zone: str) -> None:
    assert time_zone_of({"zoneinfo": zone}) == zone


@pytest.mark.parametrize("zone", ["", "Europe/Gotham", "../../etc/passwd", "/etc/localtime", "CET+1", 1, None, ["UTC"]])
def test_any_other_is_none(zone: Any) -> None:
    assert time_zone_of({"zoneinfo": zone}) is None


def test_no_two_claims_mean_the_same() -> None:
    names = [claim for fields in CLAIMS.values() for claim in fields.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"email": ADA, "zoneinfo": "Europe/Zurich"},
        {"email": ADA, "msfail": False, "tem": 0, "mxroomid": ROOM, "mxdone": True, "mxintsub": 60.0},
    ],
)
def test_wishes_go_back_to_the_claims_that_they_came_from(claims: dict[str, Any]) -> None:
    assert claims_of(claimed_wishes(claims), time_zone_of(claims)) == claims
