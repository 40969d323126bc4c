"""What the command line says of a backend's parameters, and which it takes for secret: never more than the api."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from heliograph.admission.marked_parameters import MarkedPlaces
from heliograph.admission.marked_parameters import is_secret as is_marked
from heliograph.backends import InputFile
from heliograph.client.parameters import is_secret, parameters_of, secret_names


class Login(BaseModel):
    user: str = Field(default="ada", description="Whose table it is")
    password: SecretStr


class Query(BaseModel):
    main: Login
    other: Login | None = None
    more: list[Login | int] = []
    headers: dict[str, SecretStr] = {}
    pin: SecretStr | None = None
    table: InputFile | None = None
    stars: list[str] = []
    key: Annotated[Login, Field(json_schema_extra={"writeOnly": True})]
    part: "Query | None" = None


SCHEMA = Query.model_json_schema()


def test_a_backends_parameters_are_named_with_what_lies_in_them() -> None:
    shown = {each.name: each for each in parameters_of(SCHEMA)}
    assert [name for name in shown if not name.startswith("part.")] == [
        "main", "main.user", "main.password", "other", "other.user", "other.password", "more", "more.*.user",
        "more.*.password", "headers", "headers.*", "pin", "table", "stars", "key", "key.user", "key.password", "part",
    ]  # fmt: skip
    user = shown["main.user"]
    assert (user.type, user.default, user.meaning, user.is_secret) == ("string", '"ada"', "Whose table it is", False)
    assert (shown["main.password"].default, shown["pin"].default) == ("must be given", "null")
    assert {name: shown[name].type for name in ("other", "table", "stars")} == {
        "other": "object", "table": "id of an upload", "stars": "array",
    }  # fmt: skip
    assert [name for name, each in shown.items() if each.is_secret and not name.startswith("part.")] == [
        "main.password", "other.password", "more.*.password", "headers.*", "pin", "key", "key.user", "key.password",
    ]  # fmt: skip
    assert secret_names(SCHEMA)[:2] == ["main.password", "other.password"]
    assert not any("*" in name for name in secret_names(SCHEMA))


PLACES = [
    ("main",), ("main", "password"), ("main", "user"), ("main", "pasword"), ("other", "password"), ("pin",),
    ("more", 1, "password"), ("more", "1", "password"), ("more", "password"), ("headers", "any"), ("headers",),
    ("key",), ("key", "user"), ("key", "none"), ("part", "main", "password"), ("part", "key", "user"), ("none",),
    ("stars", 1), ("password",),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_what_is_secret_here_is_secret_to_the_api(place: tuple[str | int, ...]) -> None:
    parameters: Any = "a secret"
    for part in reversed(place):
        parameters = [0, parameters] if isinstance(part, int) else {part: parameters}
    kept = [found for found, _ in MarkedPlaces(SCHEMA, is_marked).outermost(parameters)]
    assert is_secret(SCHEMA, place) == any(place[: len(found)] == found for found in kept)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, False), (None, False), ({}, False), ({"writeOnly": True}, True), ({"properties": []}, False),
        ({"properties": {"a": True}}, False), ({"properties": {"a": {"writeOnly": "yes"}}}, False),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, False), ({"properties": {"a": {"$ref": "#"}}}, False),
        ({"properties": {"a": {"$ref": "https://example.org/a"}}}, False),
        ({"allOf": [{"properties": {"a": {"oneOf": [{"writeOnly": True}]}}}]}, True),
        ({"properties": {"a": {}}, "additionalProperties": {"writeOnly": True}}, False),
        ({"additionalProperties": {"writeOnly": True}}, True), ({"items": {"writeOnly": True}}, False),
    ],
)  # fmt: skip
def test_schemas_of_any_kind(schema: Any, expected: bool) -> None:
    assert is_secret(schema, ["a"]) is expected
    parameters_of(schema)


def test_a_recursive_schema_is_shown_to_a_certain_depth() -> None:
    assert max(each.name.count(".") for each in parameters_of(SCHEMA)) < 10
    assert len(parameters_of(SCHEMA)) < 200
