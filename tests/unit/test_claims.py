"""What the claims of a token wish over e-mail; a claim of the wrong type counts as absent."""

import math
from typing import Any

import pytest

from heliograph.notices.claims import email_wish
from heliograph.notices.model import Wish

ADA = "ada@example.org"


def test_every_claim_has_its_wish() -> None:
    claims = {"sub": ADA, "mssub": True, "intsub": 1800, "msdone": False, "mstout": True, "tem": 60.5, "msfail": False}
    assert email_wish(claims) == Wish(
        "email", ADA, submitted=True, interval_seconds=1800, done=False, done_after_threshold=True,
        threshold_seconds=60.5, failed=False,
    )  # fmt: skip


def test_what_is_absent_is_left_to_the_platform() -> None:
    assert email_wish({"sub": ADA}) == Wish("email", ADA)


@pytest.mark.parametrize(
    ("claims", "recipient"),
    [
        ({"sub": ADA, "email": "other@example.org"}, ADA),
        ({"sub": "ada", "email": ADA}, ADA),
        ({"email": ADA}, ADA),
        ({"sub": "adé@exämple.org"}, "adé@exämple.org"),
        ({"sub": "o'hara+jobs@example.org"}, "o'hara+jobs@example.org"),
    ],
)
def test_the_subject_is_told_where_it_is_an_address(claims: dict[str, Any], recipient: str) -> None:
    wish = email_wish(claims)
    assert wish is not None
    assert wish.recipient == recipient


@pytest.mark.parametrize(
    "address",
    ["ada", "@example.org", "ada@", "", " ada@example.org", "ada @example.org", "ada@example.org\n", 7, None, [ADA],
     "ada@example.org\r\nBcc: eve@example.org", "a@b.c,eve@example.org", "eve@example.org;ada@b.c", "<ada@example.org>",
     "Ada <ada@example.org>", "a" * 251 + "@b.c", "ada@eve@example.org", "\ud800@example.org"],
)  # fmt: skip
def test_what_is_no_single_address_is_told_nothing(address: Any) -> None:
    assert email_wish({"sub": address}) is None
    assert email_wish({"email": address}) is None


@pytest.mark.parametrize("value", ["yes", 1, 0, None, [], {}])
@pytest.mark.parametrize("claim", ["mssub", "msdone", "mstout", "msfail"])
def test_only_a_boolean_says_yes_or_no(claim: str, value: Any) -> None:
    assert email_wish({"sub": ADA, claim: value}) == Wish("email", ADA)


@pytest.mark.parametrize("value", ["60", True, None, [], -1, math.nan, math.inf, -math.inf, 1e300, 10**400])
@pytest.mark.parametrize("claim", ["intsub", "tem"])
def test_only_a_number_of_seconds_is_a_time(claim: str, value: Any) -> None:
    assert email_wish({"sub": ADA, claim: value}) == Wish("email", ADA)


def test_zero_is_a_time() -> None:
    wish = email_wish({"sub": ADA, "tem": 0, "intsub": 0})
    assert wish == Wish("email", ADA, interval_seconds=0, threshold_seconds=0)
