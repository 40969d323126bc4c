"""Masks: what they hide in texts, values and streams, and that it does not matter how a stream is cut."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.masking import MASK, Mask

SECRETS = ["swordfish", "fish&chips", "swordfish-2", "aaaa", "zwei\nZeilen\r\n ö", {"pin": [123456, 1.5, True]}]


def stream(mask: Mask, *pieces: bytes) -> bytes:
    masking = mask.stream()
    return b"".join(map(masking.feed, pieces)) + masking.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("nothing of it", "nothing of it"),
        ("swordfish", MASK),
        ("a swordfish, and swordfish-2!", f"a {MASK}, and {MASK}!"),
        ("swordfish&chips", MASK),  # two that overlap
        ("aaaaaaaaa", MASK),
        ("aaaa aaa", f"{MASK} aaa"),
        ("zwei\nZeilen\r\n ö", MASK),
        ("> zwei\n> Zeilen\n", f"> {MASK}\n> {MASK}\n"),
        ("PIN=123456; 1.5 times True", f"PIN={MASK}; 1.5 times True"),
        (repr({"key": "zwei\nZeilen\r\n ö"}), f"{{'key': '{MASK}'}}"),
        (json.dumps("zwei\nZeilen\r\n ö"), f'"{MASK}"'),
        (f"GET /?key={quote('fish&chips', safe='')}", f"GET /?key={MASK}"),
        ("swordfis", "swordfis"),
        ("", ""),
    ],
)
def test_a_secret_is_masked_in_a_text(said: str, told: str) -> None:
    mask = Mask(SECRETS)
    assert mask.text(said) == told
    assert stream(mask, said.encode()) == told.encode()


def test_in_a_value_texts_names_and_numbers_are_masked() -> None:
    mask = Mask(SECRETS)
    value = {"swordfish": [1, None, True, 123456, 1234567], "said": {"it is": "swordfish!"}}
    told = {MASK: [1, None, True, MASK, 1234567], "said": {"it is": f"{MASK}!"}}
    assert mask.value(value) == told
    assert mask.finds_in(value)
    assert not mask.finds_in(told)


@pytest.mark.parametrize("secret", ["", "abc", 12, True, None, []], ids=repr)
def test_what_is_short_is_not_masked(secret: object) -> None:
    assert Mask([secret]).text("abc 12 True None") == "abc 12 True None"


def test_a_line_is_told_at_once_and_only_what_may_begin_a_secret_is_held_back() -> None:
    masking = Mask(["swordfish"]).stream()
    assert masking.feed(b"begun\n") == b"begun\n"
    assert masking.feed(b"the pass") == b"the pas"
    assert masking.feed(b"word is sword") == b"sword is "
    assert masking.feed(b"fish\n") == b"**********\n"
    assert masking.feed(b"swordfis") == b""
    assert masking.feed(b"t") == b"swordfist"
    assert masking.feed(b"sword") == b""
    assert masking.close() == b"sword"


LETTERS = st.text("abc\n", max_size=6)


@given(
    secrets=st.lists(st.text("abc\n", min_size=4, max_size=7), max_size=3),
    pieces=st.lists(LETTERS | st.sampled_from(["abab", "aaaa", "bc\nab", "cccccc"]), max_size=12),
)
def test_a_stream_is_masked_alike_however_it_is_cut(secrets: list[str], pieces: list[str]) -> None:
    mask = Mask(secrets)
    said = "".join(pieces)
    told = stream(mask, *(piece.encode() for piece in pieces)).decode()
    assert told == mask.text(said)
    assert told == stream(mask, *(character.encode() for character in said)).decode()
    for secret in secrets:
        assert secret not in told
    assert said.startswith(told[: (told + "*").index("*")])


@given(secret=st.text("ab", min_size=4, max_size=9), said=st.text("ab", max_size=40))
def test_of_what_is_no_secret_less_than_one_is_held_back(secret: str, said: str) -> None:
    masking = Mask([secret]).stream()
    told = masking.feed(said.encode()).decode()
    if secret not in said:
        assert said.startswith(told)
        assert len(said) - len(told) < len(secret)
        assert told + masking.close().decode() == said
