"""What a schema says of each parameter: for the person who is to give them, and to know which of them are secret.

References within the schema, unions, objects and lists are followed, as Pydantic's schemas of parameters have them. The
api follows more than that: what is found secret here is kept as a secret there.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from heliograph.backends.files import FILE_FORMAT

EACH = "*"  # stands for any item of a list, or any name in an object, on the way to a parameter
_UNIONS = ("anyOf", "oneOf", "allOf")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, or a field of one that is an object: its name, dotted, and what is to be said of it."""

    name: str
    type: str
    default: str
    meaning: str
    is_secret: bool


def parameters_of(schema: Any) -> list[Parameter]:
    """Return what a schema names, each before what lies in it."""
    about = _applied(schema, [schema])
    return list(_named(schema, about, (), frozenset(), is_secret=_marks(about)))


def secret_names(schema: Any) -> list[str]:
    """Return the names of secret parameters that are not in a list."""
    return [each.name for each in parameters_of(schema) if each.is_secret and EACH not in each.name.split(".")]


def is_secret(schema: Any, place: Sequence[str | int]) -> bool:
    """Say whether what stands at a place in the parameters is secret, by itself or with what it lies in."""
    about = _applied(schema, [schema])
    for part in place:
        if _marks(about):
            return True
        about = _applied(schema, [_at(each, part) for each in about])
    return _marks(about)


def _named(
    whole: Any, about: list[dict[str, Any]], place: tuple[str, ...], around: frozenset[int], *, is_secret: bool
) -> Iterator[Parameter]:
    """Yield what lies in what these schemas describe; what lies in its own like is described ``around`` it already."""
    around |= {id(each) for each in about}
    required = {name for each in about for name in _list(each, "required")}
    fields: dict[str, list[Any]] = {}
    for each in about:
        for name, inner in _inside(each):
            fields.setdefault(name, []).append(inner)
    for name, schemas in fields.items():
        said = _applied(whole, schemas)
        is_kept = is_secret or _marks(said)
        if name != EACH or is_kept:
            default = "must be given" if name in required else _default(said)
            yield Parameter(".".join((*place, name)), _types(said), default, _meaning(said), is_kept)
        if not any(id(each) in around for each in said):
            yield from _named(whole, said, (*place, name), around, is_secret=is_kept)


def _applied(whole: Any, schemas: Sequence[Any]) -> list[dict[str, Any]]:
    """Return schemas with all that they refer to and branch into, each once."""
    found: dict[int, dict[str, Any]] = {}
    waiting = deque(schemas)
    while waiting:
        schema = waiting.popleft()
        if not isinstance(schema, dict) or id(schema) in found:
            continue
        found[id(schema)] = schema
        waiting.append(_referred(whole, schema))
        waiting.extend(branch for word in _UNIONS for branch in _list(schema, word))
    return list(found.values())


def _at(schema: dict[str, Any], part: str | int) -> Any:
    """Return what a schema says of what stands under a name or a number in what it describes."""
    if isinstance(part, str):
        return _properties(schema).get(part, schema.get("additionalProperties"))
    return None if "prefixItems" in schema else schema.get("items")


def _inside(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from _properties(schema).items()
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield EACH, schema[word]


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _referred(whole: Any, schema: dict[str, Any]) -> Any:
    """Return the part of the whole schema that ``$ref`` points to (RFC 6901); None where it points elsewhere."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    here = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(here, dict):
            return None
        here = here.get(unquote(part).replace("~1", "/").replace("~0", "~"))
    return here


def _marks(schemas: Sequence[dict[str, Any]]) -> bool:
    return any(each.get("writeOnly") is True for each in schemas)


def _types(schemas: Sequence[dict[str, Any]]) -> str:
    """Return the types that are taken, in a word or two each."""
    words: list[str] = []
    for schema in schemas:
        if schema.get("format") == FILE_FORMAT:
            return "id of an upload"
        types = schema.get("type")
        words += [types] if isinstance(types, str) else _list(schema, "type")
    return " or ".join(dict.fromkeys(word for word in words if word != "null")) or "any"


def _default(schemas: Sequence[dict[str, Any]]) -> str:
    return json.dumps(next((each["default"] for each in schemas if "default" in each), None), ensure_ascii=False)


def _meaning(schemas: Sequence[dict[str, Any]]) -> str:
    return next((str(each["description"]) for each in schemas if "description" in each), "")


def _list(schema: dict[str, Any], word: str) -> list[Any]:
    found = schema.get(word)
    return found if isinstance(found, list) else []
