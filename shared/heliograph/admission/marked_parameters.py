"""Where parameters name uploaded files or hold secrets: the backend's schema marks those places.

What is followed is what Pydantic's schemas of parameters are made of: references within the schema, unions, objects and
lists, also as older drafts of JSON Schema write them. Behind other words a validator finds what is not found here, so
that a schema that has them and marks secrets is of no use: see ``flaw``.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

Place = tuple[str | int, ...]  # names and numbers on the way to a value, from the parameters inwards

_LISTS_OF_BRANCHES = ("anyOf", "oneOf", "allOf")
_BRANCHES = ("if", "then", "else")
_NAMED_BRANCHES = ("dependentSchemas", "dependencies")
# What else holds schemas, which are followed too, for values inside.
_LISTS = ("prefixItems", "items")
_SINGLE = ("additionalProperties", "unevaluatedProperties", "items", "additionalItems", "unevaluatedItems", "contains")
_NAMED = ("properties", "patternProperties")
# What leads a validator to schemas that are not followed here.
_OTHER_REFERENCES = ("$dynamicRef", "$recursiveRef")
_OTHER_PLACES = {
    "propertyNames": "it marks names as secret, and only values can be",
    "contentSchema": "it marks what is written within a text as secret: mark the text",
}


def is_secret(schema: dict[str, Any]) -> bool:
    """Say whether what fits this schema is not for reading, as Pydantic says of ``SecretStr`` and ``SecretBytes``."""
    return schema.get("writeOnly") is True


class MarkedPlaces:
    """Finds the places of one kind in parameters.

    Parameters
    ----------
    schema
        The JSON Schema of the parameters.
    is_marked
        Whether what a part of the schema describes is of this kind.
    """

    def __init__(self, schema: Any, is_marked: Callable[[dict[str, Any]], bool]) -> None:
        self._schema = schema
        self._is_marked = is_marked
        self._leads: dict[int, bool] = {}

    def find(self, parameters: Any) -> Iterator[tuple[str, Any]]:
        """Yield each such place (``parameters.table``) and what is there; the parameters need not fit the schema."""
        return ((dotted(place), value) for place, value in self.places(parameters))

    def places(self, parameters: Any) -> Iterator[tuple[Place, Any]]:
        """Yield as ``find`` does, but each place by its names and numbers, from the parameters inwards."""
        yield from self._find([self._schema], parameters, [])

    def outermost(self, parameters: dict[str, Any]) -> Iterator[tuple[Place, Any]]:
        """Yield as ``places`` does, without what lies within another such place or is null.

        Where the parameters as a whole are one, it is each of them by itself: they stay an object.
        """
        last: Place | None = None
        for place, value in self.places(parameters):
            if not place:
                yield from (((name,), each) for name, each in parameters.items() if each is not None)
                return
            if value is None or (last is not None and place[: len(last)] == last):
                continue
            last = place
            yield place, value

    @property
    def marks_anything(self) -> bool:
        """Whether the schema marks anything."""
        return self._leads_to_mark(self._schema)

    @property
    def flaw(self) -> str | None:
        """What keeps marks from being found where a validator finds them, in words; None where all are found."""
        if not self.marks_anything:
            return None
        if word := _base_within(self._schema):
            return _unfollowed(word)
        seen: set[int] = set()
        waiting = [self._schema]
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            if flaw := self._flaw_of(schema):
                return flaw
            waiting.extend(self._near(schema))
            waiting.extend(schema.get(word) for word in _SINGLE)
            waiting.extend(each for word in _LISTS for each in _list(schema, word))
            waiting.extend(each for word in _NAMED for each in _names(schema, word).values())
        return None

    def _flaw_of(self, schema: dict[str, Any]) -> str | None:
        if isinstance(schema.get("$ref"), str) and self._referred(schema) is None:
            return _unfollowed("$ref")
        for word in _OTHER_REFERENCES:
            if isinstance(schema.get(word), str):
                return _unfollowed(word)
        return next((flaw for word, flaw in _OTHER_PLACES.items() if self._leads_to_mark(schema.get(word))), None)

    def _find(self, schemas: list[Any], value: Any, path: list[str | int]) -> Iterator[tuple[Place, Any]]:
        applied = self._applied(schemas)
        if any(self._is_marked(each) for each in applied):
            yield tuple(path), value
        for part, inner, about in _inside(applied, value):
            # Most parts of most schemas lead to no mark: what may be a long list of numbers is not looked at.
            leading = [each for each in about if self._leads_to_mark(each)]
            if leading:
                path.append(part)
                yield from self._find(leading, inner, path)
                path.pop()

    def _applied(self, schemas: list[Any]) -> list[dict[str, Any]]:
        """Return the schemas with all that they refer to and branch into, each once."""
        found: dict[int, dict[str, Any]] = {}
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            waiting.extend(self._near(schema))
        return list(found.values())

    def _near(self, schema: dict[str, Any]) -> Iterator[Any]:
        """Yield the parts of the schema that describe the same value as ``schema``."""
        yield self._referred(schema)
        yield from (branch for word in _LISTS_OF_BRANCHES for branch in _list(schema, word))
        yield from (schema.get(word) for word in _BRANCHES)
        yield from (branch for word in _NAMED_BRANCHES for branch in _names(schema, word).values())

    def _leads_to_mark(self, schema: Any) -> bool:
        known = self._leads.get(id(schema))
        if known is None:
            known = self._leads[id(schema)] = self._reaches_mark(schema)
        return known

    def _reaches_mark(self, schema: Any) -> bool:
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            part = waiting.pop()
            if id(part) in seen:
                continue
            if isinstance(part, dict):
                seen.add(id(part))
                if self._is_marked(part):
                    return True
                waiting.append(self._referred(part))
                waiting.extend(part.values())
            elif isinstance(part, list):
                waiting.extend(part)
        return False

    def _referred(self, schema: dict[str, Any]) -> Any:
        """Return the part of the whole schema that ``$ref`` points to (RFC 6901); None where it points elsewhere."""
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return None
        here = self._schema
        for part in reference.split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict):
                here = here.get(name)
            elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
                here = here[int(name)]
            else:
                return None
        return here


def dotted(place: Place) -> str:
    """Return a place as clients are told of it: ``parameters.logins.0.password``."""
    return ".".join(["parameters", *map(str, place)])


def _inside(schemas: list[dict[str, Any]], value: Any) -> Iterator[tuple[str | int, Any, list[Any]]]:
    """Yield each value inside ``value``, under its name or number, with the schemas that may describe it."""
    if isinstance(value, dict):
        named = [_names(schema, "properties") for schema in schemas]
        patterns = [each for schema in schemas for each in _names(schema, "patternProperties").values()]
        others = [schema.get("additionalProperties", schema.get("unevaluatedProperties")) for schema in schemas]
        for name, inner in value.items():
            about = [properties.get(name, other) for properties, other in zip(named, others, strict=True)]
            yield name, inner, [*about, *patterns]
    elif isinstance(value, list):
        # Of tuples, drafts before 2020 wrote ``items`` and ``additionalItems``.
        firsts = [_list(schema, "prefixItems") or _list(schema, "items") for schema in schemas]
        rest = [schema.get(_word_of_rest(schema)) for schema in schemas]
        beside = [schema.get(word) for schema in schemas for word in ("additionalItems", "contains")]
        for number, inner in enumerate(value):
            about = [first[number] if number < len(first) else other for first, other in zip(firsts, rest, strict=True)]
            yield number, inner, [*about, *beside]


def _names(schema: dict[str, Any], word: str) -> dict[str, Any]:
    """Return what stands at a word of the schema; in a draft that does not know the word, anything may."""
    found = schema.get(word)
    return found if isinstance(found, dict) else {}


def _list(schema: dict[str, Any], word: str) -> list[Any]:
    found = schema.get(word)
    return found if isinstance(found, list) else []


def _word_of_rest(schema: dict[str, Any]) -> str:
    return "items" if isinstance(schema.get("items"), dict | bool) else "unevaluatedItems"


def _base_within(schema: Any) -> str | None:
    """Return the word by which a part of a schema states another base for its references; None where none does."""
    if not isinstance(schema, dict):
        return None
    word = "id" if "draft-04" in str(schema.get("$schema")) else "$id"
    waiting = list(schema.values())
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get(word), str):
                return word
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return None


def _unfollowed(word: str) -> str:
    return f'it marks secrets, which are not looked for behind such a "{word}": use "$ref" with "#/..." alone'
