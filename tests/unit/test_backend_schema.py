"""What a model of parameters keeps secret is marked in its schema, or the model is refused."""

from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    WithJsonSchema,
    computed_field,
    create_model,
)
from pydantic.json_schema import SkipJsonSchema

from heliograph.admission.marked_parameters import MarkedPlaces, is_secret
from heliograph.backends import JobContext, backend
from heliograph.backends.schema import schema_of
from heliograph_worker.catalogue import Catalogue
from tests.backends_for_tests.good import Sum


class SecretDate(Secret[date]):
    pass


class Token(SecretStr):
    pass


class Login(BaseModel):
    """Refers to itself, and is referred to twice."""

    password: Secret[str]
    user: str = "ada"
    next: "Login | None" = None


class Logins(BaseModel):
    first: Login
    second: Login
    note: str = ""

    @computed_field  # type: ignore[prop-decorator] # as Pydantic's documentation says
    @property
    def hint(self) -> SecretStr:
        """What is told of a model is no parameter."""
        return SecretStr(self.note)


def places(kind: Any, value: Any, **field: Any) -> list[tuple[Any, ...]]:
    schema = schema_of(create_model("Parameters", a=(kind, Field(**field)), plain=(str, "")))
    found = MarkedPlaces(schema, is_secret).outermost({"a": value, "plain": "shown"})
    return [place for place, _ in found]


@pytest.mark.parametrize(
    "kind",
    [
        SecretStr, SecretBytes, Token, Secret[str], Secret[int], Secret[dict[str, int]], SecretDate, Secret[Login],
        Secret[str] | None, Annotated[Secret[str], Field(min_length=8)],
        Annotated[Secret[str], AfterValidator(lambda value: value)],
        Annotated[Secret[str], PlainSerializer(lambda _: "hidden")],
        Annotated[Secret[str], WithJsonSchema({"type": "string"})],
        Annotated[SecretStr, WithJsonSchema({"type": "string"})],
        Annotated[Secret[str], BeforeValidator(lambda value: value, json_schema_input_type=str)],
        Annotated[SecretStr | None, BeforeValidator(lambda value: value, json_schema_input_type=str)],
        Annotated[list[Secret[str]], WithJsonSchema({"type": "array"})],
    ],
)  # fmt: skip
def test_whatever_is_secret_is_marked(kind: Any) -> None:
    assert places(kind, "hunter22") == [("a",)]


def test_of_what_holds_a_secret_only_that_is_marked() -> None:
    assert places(list[Secret[str]], ["x", "y"]) == [("a", 0), ("a", 1)]
    assert places(dict[str, Secret[str]], {"x": "y"}) == [("a", "x")]
    login = {"password": "x", "user": "ada"}
    assert places(Login | int, {**login, "next": login}) == [("a", "password"), ("a", "next", "password")]
    assert places(Logins, {"first": login, "note": "x"}) == [("a", "first", "password")]
    assert places(SecretStr, "x", json_schema_extra={"writeOnly": False}) == [("a",)]
    hidden = create_model("Hidden", default=(Secret[str], ""))
    assert places(Annotated[hidden | None, WithJsonSchema({"type": "object"})], {"default": "x"}) == [("a",)]


def test_the_schema_of_a_model_without_secrets_is_pydantics() -> None:
    assert schema_of(Sum) == Sum.model_json_schema()


@pytest.mark.parametrize(
    ("kind", "field", "why"),
    [
        (dict[SecretStr, int], {}, "the names in a dict cannot be secret"),
        (dict[Secret[Annotated[str, Field(pattern="^x")]], int], {}, "the names in a dict cannot be secret"),
        (Json[SecretStr], {}, "mark the text"),
        (SkipJsonSchema[SecretStr], {}, "cannot be left out of the schema"),
        (SecretStr, {"validation_alias": AliasChoices("b", "c")}, "has one name"),
        (SecretStr, {"validation_alias": AliasPath("b", "c")}, "has one name"),
    ],
)
def test_what_could_not_be_found_is_refused(kind: Any, field: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        places(kind, "hunter22", **field)


class Names(BaseModel):
    accounts: dict[SecretStr, int]


@backend(name="names", version="1")
def names(parameters: Names, job: JobContext) -> None:
    """Never run."""


def test_a_worker_leaves_out_a_backend_that_could_not_keep_its_secrets() -> None:
    found = Catalogue.of([names])
    assert found.backends == {}
    ((place, why),) = found.broken.items()
    assert place == f"{__name__}:names"
    assert why == "ValueError: the names in a dict cannot be secret, only values can be"


@pytest.mark.parametrize(("populate_by_name", "kind"), [(True, Secret[str]), (False, Secret[str]), (True, str)])
def test_a_secret_has_one_name(populate_by_name: bool, kind: Any) -> None:
    config = ConfigDict(populate_by_name=populate_by_name)
    model = create_model("Parameters", __config__=config, a=(kind, Field("", alias="b")), c=(Secret[str], ""))
    if populate_by_name and kind is not str:
        with pytest.raises(ValueError, match="a: a parameter that is secret has one name"):
            schema_of(model)
    else:
        assert set(schema_of(model)["properties"]) == {"b", "c"}
