"""The operator's file of backends (TOML): which tables it has, and the backend that each of them declares.

A mistake within one table makes that backend alone unusable. A child process rebuilds a backend from the table's text,
which travels with the job: it reads no file, so that what was announced holds until the worker starts again.
"""

import functools
import importlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heliograph.backends import Backend
from heliograph_worker.account import Account, AccountError, find_account
from heliograph_worker.backends.mistakes import tell, without
from heliograph_worker.backends.table import EntrustedTable, Table

PREFIX = "declared:"
NAMED = ("command", "http")  # tables of which there may be many, each with a name
SINGLE = ("call", "function", "shell")


class BackendsFileError(Exception):
    """The file cannot be read, and why; the message says what to do."""


class DeclarationError(Exception):
    """A table is wrong; the message says which, and its key."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One table of the file. ``text`` is its content as JSON; None where it is none that this knows."""

    file: Path
    kind: str
    name: str
    text: str | None

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.file} {_heading(self.kind, self.name)}"

    @property
    def source(self) -> str:
        """What a child process makes the backend of."""
        return PREFIX + json.dumps([self.kind, self.name, self.text])

    def load(self) -> tuple[Backend, Account | None]:
        """Make the backend, and find the account under which its jobs run, if it names one.

        Raises
        ------
        DeclarationError
            The table is wrong, or this worker cannot do what it asks for.
        """
        if self.kind not in NAMED + SINGLE:
            known = ", ".join([*(f"[{kind}.NAME]" for kind in NAMED), *(f"[{kind}]" for kind in SINGLE)])
            raise DeclarationError(f"[{self.kind}]: is no table of this file; those are {known}")
        if self.text is None:
            form = f"[{self.kind}.NAME]" if self.kind in NAMED else f"[{self.kind}]"
            raise DeclarationError(f"{_heading(self.kind, self.name)}: is no table; write {form} and its keys below")
        backend, table = _make(self.kind, self.name, self.text)
        try:
            table.check_worker()
        except ValueError as error:
            raise DeclarationError(f"{_heading(self.kind, self.name)} {error}") from None
        try:
            return backend, find_account(table.user) if isinstance(table, EntrustedTable) else None
        except AccountError as error:
            raise DeclarationError(f"[{self.kind}] user: {error}") from None


def read(file: Path) -> list[Declaration]:
    """Read the file.

    Raises
    ------
    BackendsFileError
        It is not there, may not be read, or is no TOML.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackendsFileError(_told(file, error.strerror or str(error))) from None
    except UnicodeDecodeError:
        raise BackendsFileError(_told(file, "it is not text in UTF-8")) from None
    except tomllib.TOMLDecodeError as error:
        raise BackendsFileError(_told(file, f"it is not TOML: {error}")) from None
    found = []
    for kind, value in content.items():
        if kind in NAMED and isinstance(value, dict):
            found += [Declaration(file, kind, name, _text(table)) for name, table in value.items()]
        else:
            found.append(Declaration(file, kind, kind if kind in SINGLE else "", _text(value)))
    return found


def rebuild(source: str) -> Backend:
    """Make the backend of a declaration's ``source`` again; ``DeclarationError`` where this worker no longer can."""
    kind, name, text = json.loads(source.removeprefix(PREFIX))
    return _make(kind, name, text)[0]


@functools.cache
def _make(kind: str, name: str, text: str) -> tuple[Backend, Table]:
    # A child imports what its job needs, and no more.
    module: Any = importlib.import_module(f"heliograph_worker.backends.{kind}")
    model: type[Table] = getattr(module, f"{kind.capitalize()}Table")
    heading = _heading(kind, name)
    try:
        table = model.model_validate_json(text)
    except ValidationError as error:
        told = [*tell(error, model), *_further(module, model, name, text, error)]
        raise DeclarationError(f"{heading} {'; '.join(told)}") from None
    try:
        return module.make(name, table), table
    except ValueError as error:
        raise DeclarationError(f"{heading} {error}") from None


def _further(module: Any, model: type[Table], name: str, text: str, error: ValidationError) -> list[str]:
    """Return what is wrong beside the keys that are, so that an operator reads it all at once."""
    try:
        module.make(name, model.model_validate_json(json.dumps(without(json.loads(text), error))))
    except ValidationError:  # what is left is no table
        return []
    except ValueError as further:
        return [str(further)]
    return []


def _heading(kind: str, name: str) -> str:
    return f"[{kind}.{name}]" if kind in NAMED and name else f"[{kind}]"


def _text(table: Any) -> str | None:
    """Return a table as JSON; a date of TOML becomes a text."""
    return json.dumps(table, default=str) if isinstance(table, Mapping) else None


def _told(file: Path, why: str) -> str:
    return f"HELIOGRAPH_BACKENDS_FILE names {file}, which cannot be read: {why}"
