"""Signed links: who made one, for what, until when; and which messages can be read."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from heliograph.callbacks.message import Message, Outcome
from heliograph.callbacks.store import lease_hash
from heliograph.errors import InvalidInputError
from heliograph.signed_links import LinkRefusedError, check, sign
from heliograph_standalone.keys import Keys

KEY, OLD, OTHER = ("3f1d9c0b7a5e48261122334455667788", "0a9b8c7d6e5f40312233445566778899", "f" * 32)
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WORDS = ("01JD8Q0Z000000000000000000", "1", lease_hash("01JD8Q0Z000000000000000001"))


def link(*keys: str, purpose: str = "callback", expires: datetime = LATER) -> str:
    return sign(keys or (KEY,), purpose, WORDS, expires)


def refusal(token: str, purpose: str = "callback", now: datetime = NOW) -> str:
    with pytest.raises(LinkRefusedError) as caught:
        check((KEY, OLD), purpose, token, now)
    return caught.value.message


def test_what_a_link_binds_comes_back() -> None:
    assert check((KEY,), "callback", link(), NOW) == (WORDS, LATER)


def test_a_link_is_a_short_part_of_a_path() -> None:
    token = link()
    assert len(token) < 200
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_the_first_key_signs_and_all_verify() -> None:
    assert link(KEY, OLD) == link(KEY)
    assert check((KEY, OLD), "callback", link(OLD), NOW) == (WORDS, LATER)
    assert "not valid" in refusal(link(OTHER))


def test_a_link_for_another_purpose_is_none() -> None:
    assert "not valid" in refusal(link(purpose="unsubscribe"))
    assert "not valid" in refusal(link(), purpose="unsubscribe")
    # Nor can the border between purpose and content be moved.
    token = link()
    assert "not valid" in refusal(token[1:], purpose=f"callback{token[0]}")


def test_a_link_expires() -> None:
    just_before = LATER - timedelta(milliseconds=1)
    assert check((KEY,), "callback", link(), just_before)
    assert refusal(link(), now=LATER) == "this link has expired"


def test_an_expired_link_of_nobody_is_not_called_expired() -> None:
    assert "not valid" in refusal(link(OTHER), now=LATER)


def test_no_character_can_be_changed() -> None:
    token = link()
    for place, character in enumerate(token):
        changed = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        assert "not valid" in refusal(changed), place


def test_what_it_binds_cannot_be_exchanged() -> None:
    _, _, mac = link().partition(".")
    content = base64.urlsafe_b64encode(json.dumps([4_000_000_000, "another job", *WORDS[1:]]).encode()).decode()
    assert "not valid" in refusal(f"{content.rstrip('=')}.{mac}")


@pytest.mark.parametrize(
    "token", ["", ".", "a.b", "..", "é.é", "\ud800.x", "x" * 100_000, f"{'x' * 500}.{'y' * 500}", "%00.%00"]
)
def test_what_is_no_link_at_all_is_refused(token: str) -> None:
    assert "not valid" in refusal(token)


def test_a_lease_token_cannot_be_read_from_its_hash() -> None:
    token = "01JD8Q0Z000000000000000001"
    assert token not in lease_hash(token)
    assert lease_hash(token) != lease_hash(token[:-1] + "2")


@pytest.mark.parametrize(
    ("body", "outcome", "fraction"),
    [
        ({}, Outcome.GOES_ON, None),
        ({"state": "running", "progress": 0.25}, Outcome.GOES_ON, 0.25),
        ({"action": "progress", "progress": "50", "progress_max": "100"}, Outcome.GOES_ON, 0.5),
        ({"action": "main_done"}, Outcome.GOES_ON, None),
        ({"state": "done"}, Outcome.DONE, None),
        ({"action": "ready"}, Outcome.DONE, None),
        ({"state": " Failed "}, Outcome.FAILED, None),
        ({"state": "running", "action": "done"}, Outcome.GOES_ON, None),
        ({"progress": 1, "scwid": {"any": ["thing"]}}, Outcome.GOES_ON, 1),
    ],
)
def test_messages_are_understood(body: dict[str, Any], outcome: Outcome, fraction: float | None) -> None:
    message = Message.of(body)
    assert (message.outcome, message.fraction) == (outcome, fraction)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"progress": 7}, "progress"),
        ({"progress": -0.1}, "progress"),
        ({"progress": float("nan")}, "progress"),
        ({"progress": "nan"}, "progress"),
        ({"progress": "much"}, "progress"),
        ({"progress": True}, "progress"),
        ({"progress": 101, "progress_max": 100}, "progress"),
        ({"progress_max": 0}, "progress_max"),
        ({"state": 3}, "state"),
        ({"state": None}, "state"),
        ({"stage": ["a"]}, "stage"),
        ({"eta_seconds": -1}, "eta_seconds"),
        ({"eta_seconds": "inf"}, "eta_seconds"),
        ({"message_id": ""}, "message_id"),
    ],
)
def test_what_a_key_cannot_mean_is_refused_by_its_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Message.of(body)
    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize("body", [[], "done", None, 1])
def test_a_message_is_an_object(body: object) -> None:
    with pytest.raises(InvalidInputError, match="JSON object"):
        Message.of(body)


def test_a_standalone_of_an_earlier_version_keeps_its_keys_and_gets_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"signing_key": KEY, "identity_key": OLD}))
    keys = Keys.keep_in(tmp_path)
    assert (keys.signing_key, keys.identity_key, len(keys.link_key)) == (KEY, OLD, 64)
    assert Keys.keep_in(tmp_path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]
