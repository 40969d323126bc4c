"""Tokens as values: what a signature, an expiry and the claims make of them. Over HTTP: test_api_access."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from heliograph.errors import UnauthenticatedError
from heliograph.identity.tokens import Tokens

KEY, OLD_KEY, OTHER_KEY = "k1" * 20, "k2" * 20, "k3" * 20
TOKENS = Tokens([KEY, OLD_KEY])
HOUR = timedelta(hours=1)


def raw(key: str = KEY, **claims: Any) -> str:
    return jwt.encode({"exp": datetime.now(UTC) + HOUR, **claims}, key, algorithm="HS256")


def test_what_was_signed_is_read_again() -> None:
    caller = TOKENS.verify(TOKENS.sign("ada", lifetime=HOUR, roles=["operator"], name="Ada", tem=60))
    assert (caller.subject, caller.name, set(caller.roles)) == ("ada", "Ada", {"operator", "user"})
    assert caller.claims["tem"] == 60


def test_the_lifetime_ends() -> None:
    with pytest.raises(UnauthenticatedError, match="expired"):
        TOKENS.verify(TOKENS.sign("ada", lifetime=-timedelta(seconds=1)))


def test_a_token_that_is_known_ends_with_its_lifetime_too() -> None:
    tokens = Tokens([KEY])
    token = tokens.sign("ada", lifetime=timedelta(seconds=1.2))
    assert tokens.verify(token) is tokens.verify(token)

    def verify_for_longer() -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            tokens.verify(token)

    with pytest.raises(UnauthenticatedError, match="expired"):
        verify_for_longer()


def test_only_so_many_tokens_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliograph.identity.tokens.MOST_KNOWN", 2)
    tokens = Tokens([KEY])
    three = [tokens.sign(name, lifetime=timedelta(minutes=1)) for name in ("ada", "bob", "eve")]
    first = tokens.verify(three[0])
    assert [tokens.verify(token).subject for token in three] == ["ada", "bob", "eve"]
    assert tokens.verify(three[0]) is not first


def test_claims_cannot_replace_the_subject_or_the_expiry() -> None:
    assert TOKENS.verify(TOKENS.sign("ada", lifetime=HOUR, sub="root", exp=1)).subject == "ada"


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_every_key_verifies(key: str) -> None:
    assert TOKENS.verify(raw(key, sub="ada")).subject == "ada"


def test_an_expired_token_of_an_older_key_is_called_expired() -> None:
    with pytest.raises(UnauthenticatedError, match="expired"):
        TOKENS.verify(raw(OLD_KEY, sub="ada", exp=1))


@pytest.mark.parametrize("token", [raw(OTHER_KEY, sub="ada"), raw(sub="ada")[:-2], "", ".", "..", "é.é.é", "a" * 9000])
def test_another_key_or_garbage_does_not_hold(token: str) -> None:
    with pytest.raises(UnauthenticatedError, match="not valid"):
        TOKENS.verify(token)


@pytest.mark.parametrize("exp", [None, "never", [], 1e400, 10**400])
def test_an_expiry_of_nonsense_does_not_hold(exp: Any) -> None:
    payload = jwt.api_jws.PyJWS().encode(_json({"sub": "ada", "exp": exp}), KEY, algorithm="HS256")
    with pytest.raises(UnauthenticatedError):
        TOKENS.verify(payload)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("a, b ,c", {"a", "b", "c"}), (["a", " b"], {"a", "b"}), ("", set()), (None, set()), (7, set()),
        ({"admin": True}, set()), (["admin", 7, None, ["x"]], {"admin"}), ("anonymous", set()),
    ],
)  # fmt: skip
def test_roles_are_a_list_or_a_text_with_commas(roles: Any, expected: set[str]) -> None:
    assert TOKENS.verify(raw(sub="ada", roles=roles)).roles == expected | {"user"}


@pytest.mark.parametrize("subject", ["", None, 7, [], "two\nlines", "\ud800"])
def test_a_subject_is_a_text_that_can_be_printed(subject: Any) -> None:
    token = jwt.api_jws.PyJWS().encode(_json({"sub": subject, "exp": 4e9}), KEY, algorithm="HS256")
    with pytest.raises(UnauthenticatedError):
        TOKENS.verify(token)


@pytest.mark.parametrize("claim", ["sub", "email"])
def test_nobody_is_called_as_those_without_a_token_are(claim: str) -> None:
    with pytest.raises(UnauthenticatedError, match="without a token"):
        TOKENS.verify(raw(**{claim: "anonymous"}))


@pytest.mark.parametrize("claims", [{"nbf": float("inf")}, {"nbf": 10**400}], ids=["infinite", "huge"])
def test_a_beginning_of_nonsense_does_not_hold(claims: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        TOKENS.verify(jwt.api_jws.PyJWS().encode(_json({"sub": "ada", "exp": 4e9} | claims), KEY, algorithm="HS256"))


def test_a_token_is_not_longer_than_a_header_may_be() -> None:
    assert TOKENS.verify(raw(sub="ada", name="n" * 5000)).subject == "ada"
    with pytest.raises(UnauthenticatedError, match="longer than 8192"):
        TOKENS.verify(raw(sub="ada", name="n" * 6200))


def test_without_a_subject_the_email_stands_for_it() -> None:
    assert TOKENS.verify(raw(email="ada@example.org")).subject == "ada@example.org"


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()
