"""A backend or a pull queue, with a compiled check of what it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs
import structlog

from heliograph.admission.marked_parameters import MarkedPlaces, Place, dotted, is_secret
from heliograph.backends.files import FILE_FORMAT
from heliograph.errors import FieldError, InvalidInputError
from heliograph.json_text import json_text
from heliograph.secret_parameters import Secret

_log = structlog.get_logger()

MOST_FAULTS = 20  # told at a time; a body of 1 MB can hold half a million
_LONG_PARAMETERS = 16 * 1024  # bytes; describing every fault takes 15 us and more for each, and a body can hold 100,000
_UNQUOTED = "the value"  # "the value is shorter than 8 characters"
_QUOTES_NAMES = {"propertyNames", "unevaluatedProperties"}  # of values, and without regard to ``_UNQUOTED``
_LONGEST_MESSAGE = 300  # characters; a message quotes the value at fault, which may be the whole body


@dataclass(frozen=True, slots=True)
class Entry:
    """What a backend or a queue (its ``kind``) asks of a submission: the roles, all of them, and its schema.

    Where the schema marks secrets, no fault quotes a value: one that is no secret by its place may hold one all the
    same, as an object around it does, or a text that was meant for another field.
    """

    kind: str
    name: str
    roles: tuple[str, ...]
    revision: str  # changes with the schema
    validator: Any  # jsonschema_rs.Validator, a protocol of several classes there; None where the schema is of no use
    files: MarkedPlaces
    secrets: MarkedPlaces

    @classmethod
    def of(cls, kind: str, name: str, schema: Any, *, roles: tuple[str, ...], revision: str) -> "Entry":
        """Compile a schema, None where anything goes. One that cannot be used is told at the first submission."""
        schema = True if schema is None else schema
        files, secrets = MarkedPlaces(schema, is_file), MarkedPlaces(schema, is_secret)
        try:
            validator = compiled(schema, quotes=not secrets.marks_anything)
        except ValueError as error:
            _log.warning("a schema cannot be used", **{kind: name}, why=str(error))
            validator = None
        return cls(kind, name, roles, revision, validator, files, secrets)

    def faults(self, parameters: dict[str, Any]) -> list[FieldError]:
        """Return what is wrong with parameters, the first 20 faults, of long ones the first; nothing where they fit.

        Raises
        ------
        InvalidInputError
            The schema cannot be used, so that nothing can be judged.
        """
        if self.validator is None:
            raise InvalidInputError.of(self.kind, "its schema cannot be used; its author has to mend it")
        if self.validator.is_valid(parameters):
            return []
        errors = self._errors(parameters)
        secret = {place for place, _ in self.secrets.places(parameters)}
        told = self._field_errors(errors) if not secret else _apart(self._placed_errors(errors), secret)
        return list(islice(told, MOST_FAULTS))

    def _errors(self, parameters: dict[str, Any]) -> Iterable[Any]:
        """Return what the validator says; of long parameters the first error."""
        if len(json_text(parameters)) <= _LONG_PARAMETERS:
            return self.validator.iter_errors(parameters)  # type: ignore[no-any-return] # a protocol of several classes there
        try:
            self.validator.validate(parameters)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []

    def uploads(self, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each place in the parameters that names an upload (``parameters.table``), and the upload's id."""
        return ((path, value) for path, value in self.files.find(parameters) if isinstance(value, str))

    def secrets_given(self, parameters: dict[str, Any]) -> Iterator[Secret]:
        """Yield each place in the parameters that holds a secret, and the secret."""
        return self.secrets.outermost(parameters)

    def _field_errors(self, errors: Iterable[Any]) -> Iterator[FieldError]:
        return (FieldError(dotted(place), message) for place, message in self._placed_errors(errors))

    def _placed_errors(self, errors: Iterable[Any]) -> Iterator[tuple[Place, str]]:
        """Name the field at fault: of what is missing or too much, the schema's word names only the object around."""
        for error in errors:
            place = tuple(error.instance_path)
            if error.kind.name == "required":
                yield (*place, error.kind.property), "this is required"
            elif error.kind.name == "additionalProperties":
                for name in error.kind.unexpected:
                    yield (*place, name), f"the {self.kind} knows no such parameter"
            elif error.kind.name in _QUOTES_NAMES and self.secrets.marks_anything:
                yield place, "a name in it does not fit"
            else:
                message = error.message
                too_long = len(message) > _LONGEST_MESSAGE
                yield place, f"...{message[-_LONGEST_MESSAGE:]}" if too_long else message


def _apart(faults: Iterable[tuple[Place, str]], secret: set[Place]) -> Iterator[FieldError]:
    """Name of a secret that is made of parts its own place alone: what the parts are called is secret as well."""
    for place, message in faults:
        outer = next((place[:length] for length in range(len(place)) if place[:length] in secret), None)
        yield FieldError(dotted(place), message) if outer is None else FieldError(dotted(outer), "a part does not fit")


def is_file(schema: dict[str, Any]) -> bool:
    """Say whether what fits this schema is the id of an upload."""
    return schema.get("format") == FILE_FORMAT


def compiled(schema: Any, *, quotes: bool = True) -> Any:
    """Compile a JSON Schema. One that refers to another address is of no use: nothing is fetched for it.

    Nor is one of use that marks secrets in a way in which they would not all be found.

    What its check says quotes the value at fault only where it ``quotes``.

    Raises
    ------
    ValueError
        It is none; the message says why in one line.
    """
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, mask=None if quotes else _UNQUOTED)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if flaw := MarkedPlaces(schema, is_secret).flaw:
        raise ValueError(flaw)
    return validator
