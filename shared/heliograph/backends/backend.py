"""A backend: a function that does one kind of work, with what others need to know of it."""

import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from pydantic import BaseModel

from heliograph.backends.context import JobContext
from heliograph.backends.files import INPUTS
from heliograph.backends.retry import Retry

ENTRY_POINTS = "heliograph.backends"

_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,63}")
_DEFAULT_TIMEOUT = timedelta(hours=1)
_DEFAULT_RETRY = Retry()
_P = TypeVar("_P", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of work that jobs may ask for; made by the decorator ``backend``.

    ``roles`` are those that a caller must have, all of them; empty: anybody. ``description`` is the docstring.
    """

    name: str
    version: str
    title: str
    description: str
    parameters: type[BaseModel]
    function: Callable[[Any, JobContext], Any]
    timeout: timedelta = _DEFAULT_TIMEOUT
    retry: Retry = _DEFAULT_RETRY
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: must be 1 to 64 of a-z, 0-9, _ and -, not {self.name!r}")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"version: must look like 1.0.0, not {self.version!r}")
        if self.timeout <= timedelta():
            raise ValueError("timeout: must be longer than nothing")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters."""
        return self.parameters.model_json_schema()

    def parse(self, parameters: object, inputs: Mapping[str, Path]) -> BaseModel:
        """Make the function's parameters from a JSON value; ``inputs`` maps upload ids to local files.

        Raises
        ------
        pydantic.ValidationError
            The value does not fit the model.
        """
        # As JSON, so that a strict model takes what JSON can say: dates and paths as text, tuples as arrays.
        return self.parameters.model_validate_json(json.dumps(parameters), context={INPUTS: inputs})


def backend(
    *,
    name: str,
    version: str,
    title: str | None = None,
    timeout: timedelta = _DEFAULT_TIMEOUT,
    retry: Retry = _DEFAULT_RETRY,
    roles: tuple[str, ...] = (),
) -> Callable[[Callable[[_P, JobContext], Any]], Backend]:
    """Make a backend of a function ``(parameters, job) -> result``, synchronous or asynchronous.

    The function's first parameter is annotated with the pydantic model of the parameters; it returns a JSON value
    or a model. It runs in a process of its own, which later jobs use again: keep no state between them.

    Parameters
    ----------
    name
        What jobs ask for: 1 to 64 of a-z, 0-9, ``_`` and ``-``.
    version
        The backend's version, such as ``1.0.0``; where workers differ, the highest one's parameters are documented.
    title
        What people read; the name where left out.
    timeout
        How long a job may run, unless it asks for less.
    retry
        When a failed job is tried again.
    roles
        What the caller must have, all of them; empty: anybody may.
    """

    def make(function: Callable[[_P, JobContext], Any]) -> Backend:
        return Backend(
            name=name,
            version=version,
            title=title or name,
            description=inspect.getdoc(function) or "",
            parameters=_parameters_of(function),
            function=function,
            timeout=timeout,
            retry=retry,
            roles=tuple(roles),
        )

    return make


def _parameters_of(function: Callable[..., Any]) -> type[BaseModel]:
    """Find the model of a function's first parameter, without looking at the others: those may be for checkers only."""
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        raise TypeError("a backend takes two parameters: its own and the job's context")
    holder = SimpleNamespace(__annotations__={"model": first.annotation})
    model = typing.get_type_hints(holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}))["model"]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{first.name}: must be annotated with a pydantic model, not {model!r}")
    return model
