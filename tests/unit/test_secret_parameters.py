"""Secret parameters taken out and put back, and faults that do not tell them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.admission.entry import Entry
from heliograph.admission.marked_parameters import MarkedPlaces, is_secret
from heliograph.errors import InvalidInputError
from heliograph.jobs.model import NewJob
from heliograph.jobs.store.documents import new_document, to_claimed, to_job
from heliograph.masking import MASK
from heliograph.seal import SealBrokenError
from heliograph.secret_parameters import masked, opened, put_back, sealed

KEY, OTHER = "3f1d9c0b7a5e48261122334455667788", "0a9b8c7d6e5f40312233445566778899"
SECRET = {"writeOnly": True}
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",  # in which the tuple below is written so
    "$defs": {"login": {"type": "object", "properties": {"password": {"type": "string", "minLength": 8, **SECRET}}}},
    "properties": {
        "main": {"$ref": "#/$defs/login"},
        "more": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/login"}, {"type": "integer"}]}},
        "headers": {"type": "object", "additionalProperties": {"type": "integer"}, **SECRET},
        "pin": {"anyOf": [{"type": "integer", **SECRET}, {"type": "null"}]},
        "pair": {"type": "array", "items": [True, SECRET]},
        "numbers": {"items": {"type": "number", "maximum": 9}},
    },
    "propertyNames": {"maxLength": 8},
}


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({}, []),
        ({"main": {"user": "ada", "password": "x"}}, [("main", "password")]),
        (
            {"more": [1, {"password": "x"}, {"user": "a"}, {"password": ""}]},
            [("more", 1, "password"), ("more", 3, "password")],
        ),
        ({"headers": {"key": {"a": 1}}}, [("headers",)]),
        ({"pin": 7}, [("pin",)]),
        ({"pin": None, "main": {"password": None}}, []),
        ({"pair": ["plain", "x"]}, [("pair", 1)]),
        ({"main": ["of the wrong shape"]}, []),
    ],
)  # fmt: skip
def test_secrets_are_taken_out_and_put_back(given: dict[str, Any], places: list[tuple[Any, ...]]) -> None:
    before = json.dumps(given)
    secrets = list(MarkedPlaces(SCHEMA, is_secret).outermost(given))
    assert [place for place, _ in secrets] == places
    shown = masked(given, secrets)
    assert json.dumps(shown).count(MASK) == len(places)
    assert put_back(shown, opened([OTHER, KEY], "job", sealed([KEY], "job", secrets))) == given
    assert json.dumps(given) == before
    assert json.dumps(shown).count(MASK) == len(places), "what was stored is not changed"


def test_where_all_is_secret_each_parameter_is() -> None:
    secrets = list(MarkedPlaces(SECRET, is_secret).outermost({"a": 1, "b": None, "c": {"d": 2}}))
    assert secrets == [(("a",), 1), (("c",), {"d": 2})]


@given(
    given=st.recursive(
        st.text() | st.integers(-(2**63), 2**63 - 1), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_secret_is_it_comes_back(given: Any) -> None:
    secrets = [(("a", 1, "b.c"), given)]
    whole = {"a": [0, {"b.c": given}]}
    assert put_back(masked(whole, secrets), opened([KEY], "job", sealed([KEY], "job", secrets))) == whole


@pytest.mark.parametrize(("keys", "job"), [((OTHER,), "job"), ((), "job"), ((KEY,), "another")])
def test_nothing_else_opens_them(keys: tuple[str, ...], job: str) -> None:
    blob = sealed([KEY], "job", [(("a",), "swordfish")])
    assert b"swordfish" not in blob
    with pytest.raises(SealBrokenError):
        opened(keys, job, blob)


@pytest.mark.parametrize("parameters", [{}, {"a": []}, {"a": "text"}, {"a": None}, []], ids=repr)
def test_what_has_no_such_place_is_not_theirs(parameters: Any) -> None:
    with pytest.raises(SealBrokenError):
        put_back(parameters, [(("a", "b"), "swordfish")])


@pytest.mark.parametrize(
    "secret", ["x" * 17_000, "\n".join(f"{line:04}" for line in range(1_100))], ids=["long", "lines"]
)
def test_there_is_a_most(secret: str) -> None:
    with pytest.raises(InvalidInputError, match="the secrets among them"):
        sealed([KEY], "job", [(("a",), secret)])


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"main": {"password": "canary"}}, "parameters.main.password", "the value is shorter than 8 characters"),
        ({"main": {"password": ["canary"]}}, "parameters.main.password", 'the value is not of type "string"'),
        ({"main": "canary"}, "parameters.main", 'the value is not of type "object"'),
        ({"more": ["canary"]}, "parameters.more.0", "the value is not valid under any of the schemas"),
        ({"headers": {"canary": "x"}}, "parameters.headers", "a part does not fit"),
        ({"numbers": ["canary", 10]}, "parameters.numbers.0", 'the value is not of type "number"'),
        ({"x-canary-": 1}, "parameters", "a name in it does not fit"),
    ],
)
def test_a_fault_quotes_nothing_where_something_is_secret(given: dict[str, Any], field: str, message: str) -> None:
    first = Entry.of("backend", "vault", SCHEMA, roles=(), revision="1").faults(given)[0]
    assert first.field == field
    assert first.message.startswith(message)
    assert "canary" not in repr(first)


def test_without_secrets_a_fault_quotes_the_value() -> None:
    entry = Entry.of("backend", "sum", {"properties": {"a": {"type": "integer"}}}, roles=(), revision="1")
    assert entry.faults({"a": "seven"})[0].message == '"seven" is not of type "integer"'


def test_a_stored_job_is_read_without_its_secrets_but_by_who_claimed_it() -> None:
    new = NewJob("job", "vault", "ada", {"key": MASK}, secrets=b"sealed")
    document = new_document(new, datetime.now(UTC))
    assert document["secrets"] == b"sealed"
    assert to_job(document).secrets is None
    assert to_claimed(document).secrets == b"sealed"
    assert "sealed" not in repr(to_claimed(document)) + repr(new)
