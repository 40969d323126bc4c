"""Secret parameters taken out and put back, and faults that do not tell them."""

import json
import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.admission.entry import Entry, compiled
from heliograph.admission.marked_parameters import MarkedPlaces, is_secret
from heliograph.admission.withheld import refuse_withheld
from heliograph.errors import InvalidInputError
from heliograph.jobs.model import NewJob
from heliograph.jobs.store.documents import new_document, to_claimed, to_job
from heliograph.masking import MASK, Mask
from heliograph.seal import SealBrokenError
from heliograph.sealed_parameters import opened, put_back, sealed
from heliograph.secret_parameters import masked
from heliograph.wire import Submission

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


PASSWORD = {"type": "string", **SECRET}
DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (
            {"properties": {"a": {"anyOf": [True, PASSWORD]}, "b": {"$ref": "#/properties/a/anyOf/1"}}},
            {"b": "hunter22"},
        ),
        ({"$id": "urn:x:y", "$defs": {"a b": PASSWORD}, "properties": {"b": {"$ref": "#/$defs/a%20b"}}}, {"b": "x"}),
        ({"$schema": DRAFT_7, "dependencies": {"a": {"properties": {"b": PASSWORD}}, "c": ["a"]}}, {"a": 1, "b": "x"}),
        (
            {"$schema": DRAFT_2019, "properties": {"b": {"items": [True], "unevaluatedItems": PASSWORD}}},
            {"b": [1, "x"]},
        ),
    ],
    ids=["into a list", "beside an id", "dependencies", "rest of a tuple"],
)  # fmt: skip
def test_a_mark_is_found_where_a_validator_finds_it(schema: dict[str, Any], given: dict[str, Any]) -> None:
    entry = Entry.of("backend", "vault", schema, roles=(), revision="1")
    assert entry.faults(given) == []
    ((place, value),) = entry.secrets_given(given)
    assert (place[0], value) == ("b", given["b"] if isinstance(given["b"], str) else given["b"][1])
    entry = Entry.of("backend", "vault", {**schema, "title": "$id", "examples": [1]}, roles=(), revision="1")
    assert entry.validator is not None


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"$defs": {"pw": {"$anchor": "pw", **PASSWORD}}, "properties": {"b": {"$ref": "#pw"}}}, '"$ref"'),
        ({"$id": "urn:x:y", "$defs": {"pw": PASSWORD}, "properties": {"b": {"$ref": "urn:x:y#/$defs/pw"}}}, '"$ref"'),
        ({"$defs": {"pw": {"$id": "urn:z", **PASSWORD}}, "properties": {"b": {"$ref": "urn:z"}}}, '"$id"'),
        (
            {
                "$defs": {"a": {"$id": "urn:z", "$defs": {"pw": PASSWORD, "b": {"$ref": "#/$defs/pw"}}}},
                "properties": {"b": {"$ref": "#/$defs/a/$defs/b"}},
            },
            '"$id"',
        ),
        ({"$schema": DRAFT_4, "definitions": {"pw": {"id": "urn:z", **PASSWORD}}}, '"id"'),
        ({"$defs": {"pw": {"$dynamicAnchor": "pw", **PASSWORD}}, "items": {"$dynamicRef": "#pw"}}, '"$dynamicRef"'),
        (
            {"$schema": DRAFT_2019, "properties": {"p": PASSWORD, "in": {"$recursiveRef": "#"}}},
            '"$recursiveRef"',
        ),
        ({"properties": {"a": {"propertyNames": PASSWORD}}}, "names as secret"),
        ({"$defs": {"pw": PASSWORD}, "propertyNames": {"$ref": "#/$defs/pw"}}, "names as secret"),
        ({"items": {"contentMediaType": "application/json", "contentSchema": PASSWORD}}, "mark the text"),
    ],
)  # fmt: skip
def test_a_schema_that_hides_marks_is_of_no_use(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        compiled(schema)
    entry = Entry.of("backend", "vault", schema, roles=(), revision="1")
    with pytest.raises(InvalidInputError, match="its schema cannot be used; its author has to mend it"):
        entry.faults({})
    compiled(json.loads(json.dumps(schema).replace("writeOnly", "deprecated")))  # else it is of use


def test_a_schema_may_say_of_names_what_is_no_mark() -> None:
    named = {"$ref": {"type": "string"}, "$dynamicRef": True, "$id": True, "pw": PASSWORD}
    compiled({"properties": named, "propertyNames": {"maxLength": 9}})


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
    "secret", ["x" * 9_000, "\n".join(f"\"ö' {line}" for line in range(300))], ids=["long", "lines"]
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


def test_a_large_key_and_many_passwords_are_not_too_much() -> None:
    line = b64encode(bytes(range(200, 248))).decode()
    key = "\n".join(
        ["-----BEGIN PRIVATE KEY-----", *(line[n:] + line[:n] for n in range(51)), "-----END PRIVATE KEY-----"]
    )
    passwords = [f"\"ö' \\&{number}" for number in range(9)]
    assert sealed([KEY], "job", [(("key",), f"{key}\n"), (("passwords",), passwords)])


NO_MORE = "this holds a secret of the job that submits: only a secret parameter may hold one"


@pytest.mark.parametrize(
    ("secret", "fields", "field"),
    [
        ('pä"ss', {"parameters": {"note": json.dumps({"key": 'pä"ss'})}}, "parameters.note"),
        (123456, {"parameters": {"other": 1, "n": [123456.0]}}, "parameters.n"),
        ("swordfish", {"parameters": {"swordfish": 1}}, f"parameters.{MASK}"),
        ("swordfish", {"parameters": {"in": {"swordfish": 1}}}, "parameters.in"),
        ("swordfish", {"name": "a swordfish"}, "name"),
        ("swordfish", {"handler": "https://example.org/swordfish"}, "handler"),
        (
            "ada@example.org",
            {"notify": {"recipients": [{"channel": "email", "recipient": "ada@example.org"}]}},
            "notify",
        ),
        ("name", {"name": "x"}, None),
        ("parameters", {"parameters": {"a": 1}}, None),
        ("notify", {"notify": {"email": {"done": True}}}, None),
        ("done", {"notify": {"email": {"done": True}}}, None),
        ("swordfish", {"parameters": {"key": MASK}, "name": "x"}, None),
    ],
)
def test_what_is_the_submitters_own_is_searched_for_the_secrets_of_the_job_that_submits(
    secret: object, fields: dict[str, Any], field: str | None
) -> None:
    submission = Submission.model_validate({"backend": "child", **fields})
    if field is None:
        refuse_withheld(submission, Mask([secret]))
        return
    with pytest.raises(InvalidInputError) as refused:
        refuse_withheld(submission, Mask([secret]))
    assert [(each.field, each.message) for each in refused.value.errors] == [(field, NO_MORE)]
