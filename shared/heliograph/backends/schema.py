"""The JSON Schema of a model of parameters, in which all that the model takes for secret is marked so.

Pydantic marks ``SecretStr`` and ``SecretBytes`` alone (``writeOnly``), and these only where no validator or annotation
states another schema for them. What is not marked would be stored, shown and told as any other parameter.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.json_schema import GenerateJsonSchema, JsonRef, JsonSchemaValue
from pydantic_core import PydanticOmit

from heliograph.admission.marked_parameters import MarkedPlaces, is_secret

_SECRETS = (Secret, SecretStr, SecretBytes)
_MADE_BY_SECRET = f"{Secret.__get_pydantic_core_schema__.__qualname__}."  # how functions within it are called
# What of Pydantic's core schema says nothing of what a model takes, or is looked at for itself.
_ELSEWHERE = frozenset({"serialization", "computed_fields", "metadata", "config", "default"})
_MARK = {"writeOnly": True}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model of parameters.

    Raises
    ------
    ValueError
        The model takes secrets where they could not be told from what is none.
    """
    schema = model.model_json_schema(schema_generator=_ParametersSchema)
    if flaw := MarkedPlaces(schema, is_secret).flaw:
        raise ValueError(f"the schema of the parameters is of no use: {flaw}")
    return schema


class _ParametersSchema(GenerateJsonSchema):
    """Marks what a secret type describes; where that type is hidden behind another schema, all of this."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """Return the JSON Schema of a part of a model."""
        if not _takes_secret(schema):
            return super().generate_inner(schema)
        _refuse_what_cannot_be_marked(schema)
        try:
            found = super().generate_inner(schema)
        except PydanticOmit:
            raise ValueError("a parameter that is secret cannot be left out of the schema") from None
        is_whole = schema.get("type") == "json-or-python" and _makes_secret(schema["json_schema"].get("function"))
        return found | _MARK if is_whole or not self._is_marked(found, set()) else found

    def _is_marked(self, found: Any, seen: set[str]) -> bool:
        """Say whether anything in a JSON Schema is marked, or in what it refers to, as far as that is made."""
        if isinstance(found, list):
            return any(self._is_marked(each, seen) for each in found)
        if not isinstance(found, dict):
            return False
        reference = found.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            made = self.json_to_defs_refs.get(JsonRef(reference))
            if made is not None and self._is_marked(self.definitions.get(made), seen):
                return True
        return is_secret(found) or any(self._is_marked(each, seen) for each in found.values())


def _takes_secret(schema: Any) -> bool:
    """Say whether a part of Pydantic's core schema makes a secret, by itself or of a part of it."""
    if isinstance(schema, list | tuple):
        return any(map(_takes_secret, schema))
    if isinstance(schema, dict):
        if schema.get("type") == "definitions":  # each of them is looked at for itself
            return False
        words = _ELSEWHERE if isinstance(schema.get("type"), str) else ()  # else its names are those of fields
        return any(_takes_secret(each) for word, each in schema.items() if word not in words)
    return _is_of_secret(schema)


def _makes_secret(function: Any) -> bool:
    return isinstance(function, dict) and _is_of_secret(function.get("function"))


def _is_of_secret(found: Any) -> bool:
    """Say whether this is a secret type, or a function that makes one."""
    if isinstance(found, type):
        return issubclass(found, _SECRETS)
    return getattr(found, "__qualname__", "").startswith(_MADE_BY_SECRET)


def _refuse_what_cannot_be_marked(schema: Mapping[str, Any]) -> None:
    if _takes_secret(schema.get("keys_schema")):
        raise ValueError("the names in a dict cannot be secret, only values can be")
    if isinstance(schema.get("validation_alias"), list):
        raise ValueError("a parameter that is secret has one name, and no AliasChoices or AliasPath")  # noqa: TRY004 - of the model
    if schema.get("type") == "model" and schema.get("config", {}).get("validate_by_name"):
        for name, field in _fields_of(schema).items():
            if _takes_secret(field) and field.get("validation_alias", name) != name:
                raise ValueError(f"{name}: a parameter that is secret has one name, its own or an alias")


def _fields_of(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a model, which its validators may stand around; none of one that is a root model."""
    here: Any = model
    while isinstance(here, dict) and "fields" not in here:
        here = here.get("schema")
    return here["fields"] if here else {}
