"""Masks: what they hide in texts, values and streams, and that it does not matter how a stream is cut."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.masking import MASK, Mask, MaskedNames

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
    assert mask.value(told) == told


PASSWORD = 'c:\\keys\t\\pä\u00a0ss & "it\'s"/1~'


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        repr,
        ascii,
        lambda text: repr(text.encode()),
        lambda text: repr(text.replace("'", "").replace('"', "")),
        lambda text: str(KeyError(f'no "key" {text}')),
        lambda text: urlencode({"password": text}),
        lambda text: f"?password={quote(text)}",
        lambda text: quote(text, safe="").lower(),
        lambda text: quote(text, safe="!'()*"),
        lambda text: quote(text, safe="!#$%&'()*+,/:;=?@[]~"),
        lambda text: "".join(each if each.isprintable() else " " for each in text),
    ],
)
@pytest.mark.parametrize("secret", [PASSWORD, PASSWORD.replace('"', ""), "correct horse", "zwei\nZeilen"], ids=range(4))
def test_a_secret_is_known_as_other_programs_write_it_and_quote_that_once_more(write: Any, secret: str) -> None:
    said = write(secret)
    mask, plain = Mask([secret, secret.replace("'", "").replace('"', "")]), Mask(["nothing of it"])
    for text in (said, json.dumps({"said": said}), json.dumps(said, ensure_ascii=False), repr(said)):
        assert MASK in mask.text(text)
        assert mask.value({"said": [text]}) == {"said": [mask.text(text)]}
        assert "keys" not in mask.text(text)
        assert plain.text(text) == text
    assert "keys" not in mask.text(quote(json.dumps({"said": secret})))
    assert "keys" not in mask.text(quote(quote(secret)))


@pytest.mark.parametrize("secret", [123456, 123456.0, -123456, "123456", "123456.0"], ids=repr)
def test_numbers_are_masked_that_are_equal_however_they_are_written(secret: object) -> None:
    told = Mask([secret]).value([123456, 123456.0, -123456, -123456.0, 1234567, 0.123456])
    assert told == [MASK, MASK, MASK, MASK, 1234567, 0.123456]


@pytest.mark.parametrize("secret", ["0001", "12.0", "1e-0", "Infinity", "9" * 500, "True"])
def test_a_number_of_few_digits_is_not_masked_for_the_text_of_another(secret: str) -> None:
    value = [0, 1, 12, 12.5, True, 10**18]
    assert Mask([secret]).value(value) == value


def test_names_stay_different_and_lose_nothing() -> None:
    value = {"swordfish": 1, "jellyfish": 2, MASK: 3, "jellyfish.txt": {"swordfish": 4}, "swordfish.txt": 5}
    told = Mask(["swordfish", "jellyfish"]).value(value)
    assert told == {f"{MASK}-2": 1, f"{MASK}-3": 2, MASK: 3, f"{MASK}.txt": {MASK: 4}, f"{MASK}-2.txt": 5}
    names = MaskedNames()
    assert [names.different(name, f"{MASK}.txt") for name in ("a", "b", "a", "c")] == [
        f"{MASK}.txt", f"{MASK}-2.txt", f"{MASK}.txt", f"{MASK}-3.txt",
    ]  # fmt: skip
    assert [names.different(name, "plain.txt") for name in ("d", "e")] == ["plain.txt", "plain.txt-2"]


def test_names_in_a_secret_are_those_of_its_schema_and_not_masked() -> None:
    assert Mask([{"password": "swordfish"}]).text("password: swordfish") == f"password: {MASK}"


def test_a_secret_is_not_found_across_two_texts() -> None:
    value = ["sword", "fish", {"sword": "fish"}, ""]
    assert Mask(["swordfish"]).value(value) == value


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


@given(secrets=st.lists(st.text("ab", min_size=4, max_size=9), min_size=1, max_size=2), said=st.text("ab", max_size=60))
def test_a_byte_is_masked_that_lies_in_a_secret_and_no_other(secrets: list[str], said: str) -> None:
    hidden = [False] * len(said)
    for secret in secrets:
        for begin in range(len(said)):
            if said.startswith(secret, begin):
                hidden[begin : begin + len(secret)] = [True] * len(secret)
    kept = "".join(each for each, is_hidden in zip(said, hidden, strict=True) if not is_hidden)
    assert Mask(secrets).text(said).replace(MASK, "") == kept


def test_a_long_secret_that_overlaps_itself_takes_no_longer() -> None:
    for secret in ("a" * 4_000 + "b" + "a" * 3_900, "a" * 7_900, "ab" * 3_900, "b" + "a" * 7_900):
        said = secret * 2_000  # 16 MB; a search at each byte would take hours
        assert set(Mask([secret]).text(said)) == {"*"}


@given(secret=st.text("ab", min_size=4, max_size=9), said=st.text("ab", max_size=40))
def test_of_what_is_no_secret_less_than_one_is_held_back(secret: str, said: str) -> None:
    masking = Mask([secret]).stream()
    told = masking.feed(said.encode()).decode()
    if secret not in said:
        assert said.startswith(told)
        assert len(said) - len(told) < len(secret)
        assert told + masking.close().decode() == said
