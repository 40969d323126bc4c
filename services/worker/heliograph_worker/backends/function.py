"""``[function]``: runs a function that the caller sends, pickled. Whoever may use it runs any code on the worker."""

import base64
import pickle
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heliograph.backends import Backend, JobContext, UsageError
from heliograph_worker.backends.table import EntrustedTable

_LONGEST_PICKLE = 700_000  # characters; a submission has 1 MiB, unless the operator allows more


class FunctionTable(EntrustedTable):
    """What the operator says of it."""


class Parameters(BaseModel):
    """A function that the worker unpickles and calls: any code that the caller wrote, run as a user of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    pickle: str = Field(
        min_length=4,
        max_length=_LONGEST_PICKLE,
        description="The function, pickled and written in base64. Reading it runs whatever code it holds.",
    )
    args: list[Any] = Field(default_factory=list, description="The arguments, in order")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="The arguments by name")


def make(name: str, table: FunctionTable) -> Backend:
    """Make the backend."""
    about = f"Runs a Python function that the caller sends, pickled, as the user {table.user} of the worker."
    return table.backend(name, Parameters, _run, about=about)


def _run(parameters: Parameters, _: JobContext) -> object:
    return _read(parameters.pickle)(*parameters.args, **parameters.kwargs)


def _read(text: str) -> Callable[..., Any]:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise UsageError("parameters.pickle: is not written in base64") from None
    try:
        found = pickle.loads(data)  # noqa: S301 - what this backend is for; it runs as a user who owns nothing here
    except Exception as error:
        version = ".".join(map(str, sys.version_info[:2]))
        told = f"{type(error).__qualname__}: {error}"
        raise UsageError(
            f"parameters.pickle: cannot be read here, with Python {version} and what is installed: {told}"
        ) from error
    if not callable(found):
        raise UsageError(f"parameters.pickle: holds no function but {type(found).__qualname__}")
    return found  # type: ignore[no-any-return] # narrowed by callable, which keeps Any
