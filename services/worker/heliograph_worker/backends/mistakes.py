"""The mistakes of an operator's table: collected, and told in words that say what to write."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Made = TypeVar("Made")
_WORDS = {
    "missing": "is missing",
    "string_type": "must be a text, in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list, in square brackets",
    "list_type": "must be a list, in square brackets",
    "dict_type": "must be a table, in braces or with a heading of its own",
    "model_type": "must be a table, in braces or with a heading of its own",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must fit the pattern {pattern}",
}
_PATTERNS = {
    "functions": "must look like package.module:name",
    "[key]": "is no name of a parameter: a letter, then at most 63 letters, digits and _",
}


class Mistakes:
    """Sentences about a table, in the order in which they were found."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add(self, told: Iterable[str]) -> None:
        """Add some."""
        self.told += told

    def collect(self, make: Callable[..., Made], *given: Any) -> Made | None:
        """Call a function; where it raises ``ValueError``, add its message and return None."""
        try:
            return make(*given)
        except ValueError as error:
            self.told.append(str(error))
            return None


@contextmanager
def all_of() -> Iterator[Mistakes]:
    """Collect mistakes, and raise one ``ValueError`` that tells them all."""
    found = Mistakes()
    yield found
    if found.told:
        raise ValueError("; ".join(dict.fromkeys(found.told)))


def tell(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return all that is wrong with the keys of a table, each with its place."""
    told = []
    faults = error.errors(include_url=False, include_input=False)
    for fault in faults:
        place = _place(fault["loc"])
        if fault["type"] == "too_short" and any(
            len(place) < len(each["loc"]) and place == _place(each["loc"])[: len(place)] for each in faults
        ):
            continue  # pydantic counts those of a list alone that are right
        if fault["type"] == "extra_forbidden":
            *above, key = place
            known = _keys(model, fault["loc"][:-1])
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; those are {', '.join(known)}" if known else ""
            told.append(f"{'.'.join(above)}: knows no key {key}{hint}" if above else f"knows no key {key}{hint}")
            continue
        if fault["type"].startswith("union_tag"):
            place.append("type")
        told.append(f"{'.'.join(place) or 'the table'}: {words_of(fault)}")
    return list(dict.fromkeys(told))


def words_of(fault: ErrorDetails) -> str:
    """Say what is wrong with one value."""
    kind, place, about = fault["type"], fault["loc"], fault.get("ctx", {})
    if kind == "value_error":
        return str(about["error"])
    if kind.startswith("union_tag"):
        expected = about.get("expected_tags", "").replace("'", "")
        return f"must be one of {expected}" if expected else "is missing"
    if place[:1] == ("argv",) and len(place) > 1:
        return "must be a text, or a list of texts"
    if kind in {"too_short", "string_too_short"}:
        least = about["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} characters or items"
    if kind == "string_pattern_mismatch":
        for key, words in _PATTERNS.items():
            if key in place:
                return words
    return _WORDS[kind].format(**about) if kind in _WORDS else fault["msg"]


def without(table: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return a table without the keys that are wrong.

    Of a command's parameters, one that is wrong becomes a boolean, which may stand anywhere in its arguments.
    """
    left = dict(table)
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = fault["loc"]
        if len(place) > 1 and place[0] == "parameters" and isinstance(left.get("parameters"), dict):
            mended = {name: each for name, each in left["parameters"].items() if name != place[1]}
            left["parameters"] = mended if "[key]" in place else {**mended, place[1]: {"type": "boolean"}}
        elif place:
            left.pop(str(place[0]), None)
    return left


def _place(found: tuple[int | str, ...]) -> list[str]:
    """Return the keys as the operator wrote them, without what pydantic says of its own ways."""
    if found[:1] == ("parameters",):
        found = (*found[:2], *found[3:])  # the third is the parameter's type, or the mark of a key
    elif found[:1] == ("argv",):
        found = found[:2]
    return list(map(str, found))


def _keys(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at this place has."""
    for key in place[:1]:
        field = model.model_fields[str(key)]
        inner: Any = field.annotation
        if len(place) == 3 and key == "parameters":
            union = get_args(get_args(inner)[1])[0]
            kinds = {get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(union)}
            inner = kinds[place[2]]
        return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else []
    return list(model.model_fields)
