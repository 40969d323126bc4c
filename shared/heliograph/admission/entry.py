"""A backend or a pull queue, with a compiled check of what it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs
import structlog

from heliograph.admission.marked_parameters import MarkedPlaces, is_file, is_secret
from heliograph.errors import FieldError, InvalidInputError
from heliograph.json_text import json_text

_log = structlog.get_logger()

MOST_FAULTS = 20  # told at a time; a body of 1 MB can hold half a million
_LONG_PARAMETERS = 16 * 1024  # bytes; describing every fault takes 15 us and more for each, and a body can hold 100,000
_LONGEST_MESSAGE = 300  # characters; a message quotes the value at fault, which may be the whole body


@dataclass(frozen=True, slots=True)
class Entry:
    """What a backend or a queue (its ``kind``) asks of a submission: the roles, all of them, and its schema."""

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
        try:
            validator = compiled(schema)
        except ValueError as error:
            _log.warning("a schema cannot be used", **{kind: name}, why=str(error))
            validator = None
        files, secrets = MarkedPlaces(schema, is_file), MarkedPlaces(schema, is_secret)
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
        if len(json_text(parameters)) <= _LONG_PARAMETERS:
            return list(islice(self._field_errors(self.validator.iter_errors(parameters)), MOST_FAULTS))
        try:
            self.validator.validate(parameters)
        except jsonschema_rs.ValidationError as error:
            return list(islice(self._field_errors([error]), MOST_FAULTS))
        return []

    def uploads(self, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each place in the parameters that names an upload (``parameters.table``), and the upload's id."""
        return ((path, value) for path, value in self.files.find(parameters) if isinstance(value, str))

    def secrets_given(self, parameters: dict[str, Any]) -> Iterator[str]:
        """Yield each place in the parameters that holds a secret (``parameters.password``)."""
        return (path for path, value in self.secrets.find(parameters) if value is not None)

    def _field_errors(self, errors: Iterable[Any]) -> Iterator[FieldError]:
        """Name the field at fault: of what is missing or too much, the schema's word names only the object around."""
        for error in errors:
            path = ".".join(["parameters", *map(str, error.instance_path)])
            if error.kind.name == "required":
                yield FieldError(f"{path}.{error.kind.property}", "this is required")
            elif error.kind.name == "additionalProperties":
                yield from (
                    FieldError(f"{path}.{name}", f"the {self.kind} knows no such parameter")
                    for name in error.kind.unexpected
                )
            else:
                message = error.message
                too_long = len(message) > _LONGEST_MESSAGE
                yield FieldError(path, f"...{message[-_LONGEST_MESSAGE:]}" if too_long else message)


def compiled(schema: Any) -> Any:
    """Compile a JSON Schema. One that refers to another address is of no use: nothing is fetched for it.

    Raises
    ------
    ValueError
        It is none; the message says why in one line.
    """
    try:
        return jsonschema_rs.validator_for(schema, offline=True)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
