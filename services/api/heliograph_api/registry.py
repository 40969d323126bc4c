"""The backends that workers announced, kept at hand, each with a compiled check of its parameters."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import jsonschema_rs
import structlog

from heliograph.announcements import Announced, Announcements
from heliograph.errors import FieldError, InvalidInputError, NotFoundError
from heliograph.json_text import json_text
from heliograph.storage import StoreUnavailableError
from heliograph_api.marked_parameters import MarkedPlaces, is_file, is_secret

_log = structlog.get_logger()

REFRESH_SECONDS = 2.0
MOST_FAULTS = 20  # told at a time; a body of 1 MB can hold half a million
_LONG_PARAMETERS = 16 * 1024  # bytes; describing every fault takes 15 us and more for each, and a body can hold 100,000
_LONGEST_MESSAGE = 300  # characters; a message quotes the value at fault, which may be the whole body


@dataclass(frozen=True, slots=True)
class Entry:
    """A backend and its compiled schema."""

    announced: Announced
    validator: Any  # jsonschema_rs.Validator, a protocol of several classes there; None where the schema is of no use
    files: MarkedPlaces
    secrets: MarkedPlaces

    @classmethod
    def of(cls, announced: Announced) -> "Entry":
        """Compile a backend's schema. One that refers to another address is of no use: nothing is fetched for it."""
        schema = announced.parameters_schema
        try:
            validator = jsonschema_rs.validator_for(schema, offline=True)
        except (ValueError, jsonschema_rs.ValidationError) as error:
            _log.warning("a backend's schema cannot be used", backend=announced.name, why=str(error).splitlines()[0])
            validator = None
        return cls(announced, validator, MarkedPlaces(schema, is_file), MarkedPlaces(schema, is_secret))

    def faults(self, parameters: dict[str, Any]) -> list[FieldError]:
        """Return what is wrong with parameters, the first 20 faults, of long ones the first; nothing where they fit.

        Raises
        ------
        InvalidInputError
            The schema cannot be used, so that nothing can be judged.
        """
        if self.validator is None:
            raise InvalidInputError.of("backend", "its schema cannot be used; its author has to mend it")
        if self.validator.is_valid(parameters):
            return []
        if len(json_text(parameters)) <= _LONG_PARAMETERS:
            return list(islice(_field_errors(self.validator.iter_errors(parameters)), MOST_FAULTS))
        try:
            self.validator.validate(parameters)
        except jsonschema_rs.ValidationError as error:
            return list(islice(_field_errors([error]), MOST_FAULTS))
        return []

    def uploads(self, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each place in the parameters that names an upload (``parameters.table``), and the upload's id."""
        return ((path, value) for path, value in self.files.find(parameters) if isinstance(value, str))

    def secrets_given(self, parameters: dict[str, Any]) -> Iterator[str]:
        """Yield each place in the parameters that holds a secret (``parameters.password``)."""
        return (path for path, value in self.secrets.find(parameters) if value is not None)


class Registry:
    """Knows the announced backends, at most two seconds late."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements
        self._entries: dict[str, Entry] = {}

    async def find(self, name: str) -> Entry:
        """Return a backend; one that is not known yet is looked for once more.

        Raises
        ------
        NotFoundError
            No worker ever announced it.
        """
        if name not in self._entries:
            await self.refresh()
        try:
            return self._entries[name]
        except KeyError as error:
            raise NotFoundError(f"there is no backend {name}") from error

    async def refresh(self) -> list[Announced]:
        """Read what is announced now."""
        announced = await self._announcements.all()
        entries: dict[str, Entry] = {}
        for backend in announced:
            known = self._entries.get(backend.name)
            if known and known.announced.revision == backend.revision:
                entries[backend.name] = replace(known, announced=backend)
            else:
                entries[backend.name] = Entry.of(backend)
        self._entries = entries
        return announced

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except StoreUnavailableError:
                _log.debug("registry waits for the database")
            await asyncio.sleep(REFRESH_SECONDS)


def _field_errors(errors: Iterable[Any]) -> Iterator[FieldError]:
    """Name the field at fault: of what is missing or too much, the schema's word names only the object around it."""
    for error in errors:
        path = ".".join(["parameters", *map(str, error.instance_path)])
        if error.kind.name == "required":
            yield FieldError(f"{path}.{error.kind.property}", "this is required")
        elif error.kind.name == "additionalProperties":
            yield from (
                FieldError(f"{path}.{name}", "the backend knows no such parameter") for name in error.kind.unexpected
            )
        else:
            message = error.message
            too_long = len(message) > _LONGEST_MESSAGE
            yield FieldError(path, f"...{message[-_LONGEST_MESSAGE:]}" if too_long else message)
