"""The parameters that an operator declares for a command, and the pydantic model that is made of them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import SchemaError

from heliograph.backends import InputFile
from heliograph_worker.backends.mistakes import words_of

_NO_DASH = r"^([^\x00-][^\x00]*)?$"  # a text that begins with a dash would be read as an option
_ANY_TEXT = r"^[^\x00]*$"  # no argument of a program holds a NUL
_SECRET: dict[str, Any] = {"writeOnly": True, "format": "password"}  # as Pydantic writes a SecretStr
_LONGEST_TEXT = 100_000  # characters; Linux takes 128 KiB in one argument


class _Parameter(BaseModel):
    """What all types share. One without a ``default`` has to be given unless it is ``optional``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    description: str = ""
    optional: bool = False


class Text(_Parameter):
    """A text."""

    type: Literal["text"]
    max_length: int = Field(default=1_000, ge=1, le=_LONGEST_TEXT)
    pattern: str | None = None  # of the whole text
    choices: tuple[str, ...] | None = Field(default=None, min_length=1)
    may_start_with_dash: bool = False
    secret: bool = False  # sealed where it is stored, and handed over in a variable
    default: str | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> "Text":
        if self.choices and self.model_fields_set & {"pattern", "max_length", "may_start_with_dash"}:
            raise ValueError("choices: stand alone, without pattern, max_length or may_start_with_dash")
        if self.secret and (self.choices or self.default is not None):
            raise ValueError("secret: has neither choices nor a default, which anybody can read in the schema")
        return self

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        if self.secret:
            return Annotated[self._plain(), Field(json_schema_extra=_SECRET)]
        return self._plain()

    def _plain(self) -> Any:
        if self.choices:
            return Literal[self.choices]
        base = _ANY_TEXT if self.may_start_with_dash or self.secret else _NO_DASH  # no secret stands in an argument
        if self.pattern is None:
            return Annotated[str, Field(max_length=self.max_length, pattern=base)]
        whole = Field(max_length=self.max_length, pattern=f"^(?:{self.pattern})$")
        return Annotated[str, whole, AfterValidator(_not_an_option) if base == _NO_DASH else AfterValidator(_no_nul)]


class Integer(_Parameter):
    """A whole number."""

    type: Literal["integer"]
    minimum: int | None = None
    maximum: int | None = None
    default: int | None = None

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        return Annotated[int, Field(ge=self.minimum, le=self.maximum)]


class Number(_Parameter):
    """A number, written with a point; ``minimum`` and ``maximum`` belong to the range."""

    type: Literal["number"]
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    default: float | None = Field(default=None, allow_inf_nan=False)

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        return Annotated[float, Field(ge=self.minimum, le=self.maximum, allow_inf_nan=False)]


class Boolean(_Parameter):
    """Yes or no; no where it is not given."""

    type: Literal["boolean"]
    default: bool = False

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        return bool


class File(_Parameter):
    """An upload, of which the program gets the path."""

    type: Literal["file"]

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        return InputFile


class Choice(_Parameter):
    """One of some texts."""

    type: Literal["choice"]
    choices: tuple[str, ...] = Field(min_length=1)
    default: str | None = None

    def annotation(self) -> Any:
        """Return the type of the model's field."""
        return Literal[self.choices]


Parameter = Annotated[Text | Integer | Number | Boolean | File | Choice, Field(discriminator="type")]


def model_of(parameters: Mapping[str, Parameter]) -> type[BaseModel]:
    """Make the model of a command's parameters; ``model_dump(by_alias=True)`` then has their values by name.

    Raises
    ------
    ValueError
        A default does not fit its own type, a pattern is none, or the default is one of an ``optional``.
    """
    fields: dict[str, Any] = {}
    for number, (name, parameter) in enumerate(parameters.items()):
        try:
            default = _default_of(parameter)
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from None
        annotation = parameter.annotation()
        about = Field(default=default, alias=name, title=name, description=parameter.description or None)
        # Not by its own name, which may be one of the model's methods.
        fields[f"parameter_{number}"] = (annotation | None if parameter.optional else annotation, about)
    return create_model("Parameters", __config__=ConfigDict(extra="forbid", frozen=True, strict=True), **fields)


def _default_of(parameter: Parameter) -> Any:
    """Return the default of a field, ``...`` where there is none."""
    try:
        known = TypeAdapter(parameter.annotation())
    except SchemaError:
        raise ValueError("pattern: is no regular expression of the kind that Rust's regex reads") from None
    default = None if isinstance(parameter, File) else parameter.default
    if default is None:
        return None if parameter.optional else ...
    if parameter.optional:
        raise ValueError("optional: it has a default, so that it is given always")
    try:
        return known.validate_json(json.dumps(default))
    except ValidationError as error:
        fault = error.errors()[0]
        is_dash = fault.get("ctx", {}).get("pattern") == _NO_DASH
        raise ValueError(f"default: {'must not begin with a dash' if is_dash else words_of(fault)}") from None


def _not_an_option(text: str) -> str:
    if text.startswith("-"):
        raise ValueError("must not begin with a dash")
    return _no_nul(text)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must hold no NUL")
    return text
