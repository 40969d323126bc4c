"""The backends that workers announced, kept at hand, each with a compiled check of its parameters."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import structlog

from heliograph.announcements import Announced, Announcements
from heliograph.errors import FieldError, NotFoundError
from heliograph.storage import StoreUnavailableError

_log = structlog.get_logger()

REFRESH_SECONDS = 2.0
FILE_FORMAT = "heliograph-file"


@dataclass(frozen=True, slots=True)
class Entry:
    """A backend and its compiled schema."""

    announced: Announced
    validator: Any  # jsonschema_rs.Validator; a protocol of several classes there

    def faults(self, parameters: dict[str, Any]) -> list[FieldError]:
        """Return what is wrong with parameters; nothing where they fit."""
        if self.validator.is_valid(parameters):
            return []
        return [
            FieldError(".".join(["parameters", *map(str, error.instance_path)]), error.message)
            for error in self.validator.iter_errors(parameters)
        ]

    def uploads(self, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each parameter that names an upload: its name, and the upload's id."""
        for name, schema in self.announced.parameters_schema.get("properties", {}).items():
            value = parameters.get(name)
            if isinstance(value, str) and _takes_file(schema):
                yield name, value


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
                entries[backend.name] = Entry(backend, known.validator)
                continue
            try:
                entries[backend.name] = Entry(backend, jsonschema_rs.validator_for(backend.parameters_schema))
            except (ValueError, jsonschema_rs.ValidationError) as error:
                _log.warning("a backend's schema cannot be used", backend=backend.name, why=str(error))
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


def _takes_file(schema: dict[str, Any]) -> bool:
    branches = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return any(branch.get("format") == FILE_FORMAT for branch in branches if isinstance(branch, dict))
