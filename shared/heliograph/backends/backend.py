"""A backend: a function that does one kind of work, with what others need to know of it."""

import functools
import inspect
import json
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from pydantic import BaseModel

from heliograph.backends.context import JobContext
from heliograph.backends.files import INPUTS
from heliograph.backends.retry import Retry
from heliograph.backends.schema import schema_of
from heliograph.backends.standing import Standing
from heliograph.jobs.limits import Limits

ENTRY_POINTS = "heliograph.backends"
LEAST_MEMORY = 64 * 1024 * 1024

_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,63}")
_DEFAULT_TIMEOUT = timedelta(hours=1)
_DEFAULT_RETRY = Retry()
_NO_LIMITS = Limits()
_P = TypeVar("_P", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of work that jobs may ask for; made by the decorator ``backend``.

    ``roles`` are those that a caller must have, all of them; empty: anybody. ``description`` is the docstring.
    ``reconcile`` says what an outside system knows of a job whose worker was lost.
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
    limits: Limits = _NO_LIMITS
    memory: int | None = None
    reconcile: Callable[[Any, JobContext], Any] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: must be 1 to 64 of a-z, 0-9, _ and -, not {self.name!r}")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"version: must look like 1.0.0, not {self.version!r}")
        if self.timeout <= timedelta():
            raise ValueError("timeout: must be longer than nothing")
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise ValueError(f"memory: must be at least {LEAST_MEMORY:,} bytes, which an interpreter alone needs")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters.

        Raises
        ------
        ValueError
            They hold secrets where these could not be told from what is none.
        """
        return schema_of(self.parameters)

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
    limits: Limits = _NO_LIMITS,
    memory: int | None = None,
    reconcile: Callable[[Any, JobContext], Standing | Awaitable[Standing]] | None = None,
) -> Callable[[Callable[[_P, JobContext], Any] | type[Any]], Backend]:
    """Make a backend of a function ``(parameters, job) -> result``, or of a class with such a method ``run``.

    Both may be synchronous or asynchronous. The first parameter is annotated with the pydantic model of the parameters;
    what is returned is a JSON value or a model. It runs in a process of its own, which later jobs of the same owner use
    again: keep no state of a job in it. Of a class, one object is made in each process, before its first job there:
    what takes long to load belongs into its ``__init__``. A method ``reconcile`` of it serves as the parameter.

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
    limits
        How many of its jobs run at a time.
    memory
        What one process of a job may allocate, in bytes; at most what the operator allows.
    reconcile
        A function ``(parameters, job) -> Standing`` that is asked before a job is begun once more, after its worker was
        lost or an attempt failed: whether what that started outside still runs, is done, or is gone.
    """

    def make(made: Callable[[_P, JobContext], Any] | type[Any]) -> Backend:
        function, ask = _methods(made) if isinstance(made, type) else (made, None)
        return Backend(
            name=name,
            version=version,
            title=title or name,
            description=inspect.getdoc(made) or "",
            parameters=_parameters_of(made),
            function=function,
            timeout=timeout,
            retry=retry,
            roles=tuple(roles),
            limits=limits,
            memory=memory,
            reconcile=reconcile or ask,
        )

    return make


def _methods(made: type[Any]) -> tuple[Callable[[Any, JobContext], Any], Callable[[Any, JobContext], Any] | None]:
    """Return the methods of the one object that a process makes of a backend's class, when it first needs it."""
    if not callable(getattr(made, "run", None)):
        raise TypeError(f"{made.__qualname__}: a backend's class has a method run(self, parameters, job)")
    only = functools.cache(made)

    def run(parameters: Any, job: JobContext) -> Any:
        return only().run(parameters, job)

    def ask(parameters: Any, job: JobContext) -> Any:
        return only().reconcile(parameters, job)

    run.__module__, run.__qualname__ = made.__module__, made.__qualname__  # where the backend is found
    return run, ask if callable(getattr(made, "reconcile", None)) else None


def _parameters_of(made: Any) -> type[BaseModel]:
    """Find the model of a function's first parameter, or of a class's ``run``, without looking at the others.

    Those may be annotated for checkers only.
    """
    own = int(isinstance(made, type))  # a method's first parameter is its object
    function = getattr(made, "run") if own else made  # noqa: B009 - the checker knows no attribute of a class
    first = next(iter(list(inspect.signature(function).parameters.values())[own:]), None)
    if first is None:
        raise TypeError("a backend takes two parameters: its own and the job's context")
    holder = SimpleNamespace(__annotations__={"model": first.annotation})
    model = typing.get_type_hints(holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}))["model"]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{first.name}: must be annotated with a pydantic model, not {model!r}")
    return model
