"""What is refused at the door, and under which name. Over HTTP: test_api_bad_input."""

import contextlib
import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.errors import InvalidInputError, MalformedBodyError
from heliograph_api.body import MOST_DEPTH, MOST_VALUES, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: "\x00" not in key), inner),
)  # fmt: skip


@given(JSON)
def test_what_can_be_kept_is_read_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    try:
        parse_json(body)
    except (InvalidInputError, MalformedBodyError):
        return  # anything else would be a defect


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (f'{{"a": [0, {2**63}]}}', "a.1"), (f'{{"a": {-(2**63) - 1}}}', "a"), ('{"a": {"b": 1e999}}', "a.b"),
        ("[NaN]", "0"), ('{"a": -Infinity}', "a"), (r'{"a": "x\ud83dx"}', "a"), (r'{"a": ["\udc00"]}', "a.0"),
        (r'{"a": {"\ud800": 1}}', r"a.\ud800"), (r'{"a\u0000": 1}', r"a\0"), (r'[{"\u0000": 1}]', r"0.\0"),
    ],
)  # fmt: skip
def test_the_field_at_fault_is_named(body: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_json(body.encode())
    assert [each.field for each in caught.value.errors] == [field]


@pytest.mark.parametrize("body", ["", "{", "nul", "{'a': 1}", '{"a": 01}', '{"a": .5}', "[1,]", '{"a" 1}', "\ufeff{}"])
def test_what_is_not_json_is_called_so(body: str) -> None:
    with pytest.raises(MalformedBodyError, match="not JSON" if body else "empty"):
        parse_json(body.encode())


def test_the_limits_themselves_are_taken() -> None:
    assert parse_json(f"[{2**63 - 1}, {-(2**63)}, 1e308, 5e-324]".encode()) == [2**63 - 1, -(2**63), 1e308, 5e-324]
    assert parse_json(b'"\\ud83d\\udd2d \\u0000"') == "🔭 \x00"
    assert parse_json(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    assert math.copysign(1, parse_json(b"-0.0")) == -1


@pytest.mark.parametrize("depth", [MOST_DEPTH + 1, 199, 200, 201, 100_000])
def test_one_level_more_is_not(depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        with pytest.raises(InvalidInputError, match="nested deeper"):
            parse_json(opening * depth + b"1" + closing * depth)


@pytest.mark.parametrize("item", [b"[]", b"1", b'""', b'{"a":{}}'])
def test_a_body_of_very_many_values_is_refused(item: bytes) -> None:
    body = b"[" + b",".join([item] * MOST_VALUES) + b",1]"
    with pytest.raises(InvalidInputError, match="holds more than 100000 values"):
        parse_json(body)


def test_as_many_values_as_allowed_are_taken() -> None:
    assert len(parse_json(b"[" + b",".join([b"[]"] * MOST_VALUES) + b"]")) == MOST_VALUES


@pytest.mark.parametrize(
    "body",
    [b"[" + b",".join([b"[]"] * 340_000) + b"]", b'{"a":' * 90 + b"[" + b"1," * 90_000 + b"1]" + b"}" * 90],
    ids=["nested lists", "deep"],
)
def test_looking_for_faults_keeps_next_to_nothing(body: bytes) -> None:
    assert peak_memory(parse_json, body) < 1.2 * peak_memory(json.loads, body) + 100_000


def peak_memory(read: Callable[[bytes], Any], body: bytes) -> int:
    """Return how many bytes reading this body takes at its height, its refusal included."""
    tracemalloc.start()
    try:
        with contextlib.suppress(InvalidInputError):
            read(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
