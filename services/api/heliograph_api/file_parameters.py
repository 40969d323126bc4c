"""Where parameters name uploaded files: the schema marks those places with a format of this project's own."""

from collections.abc import Iterator, Mapping
from typing import Any

from heliograph.backends.files import FILE_FORMAT

_BRANCHES = ("anyOf", "oneOf", "allOf")
_DEFINITIONS = "#/$defs/"


def file_parameters(schema: Any, value: Any, definitions: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield each place in ``value`` that names an upload, and the upload's id.

    ``value`` fits ``schema`` already. What is followed is what Pydantic's schemas of parameters are made of:
    references to definitions, unions, objects and lists.
    """
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref", "")
    if reference.startswith(_DEFINITIONS):
        yield from file_parameters(definitions.get(reference.removeprefix(_DEFINITIONS)), value, definitions, path)
    for branch in (branch for word in _BRANCHES for branch in schema.get(word, ())):
        yield from file_parameters(branch, value, definitions, path)
    if isinstance(value, str):
        if schema.get("format") == FILE_FORMAT:
            yield path, value
    elif isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in value.items():
            yield from file_parameters(properties.get(name, others), inner, definitions, f"{path}.{name}")
    elif isinstance(value, list):
        first, others = schema.get("prefixItems", ()), schema.get("items")
        for number, inner in enumerate(value):
            item = first[number] if number < len(first) else others
            yield from file_parameters(item, inner, definitions, f"{path}.{number}")
