"""``[call]``: one backend that calls functions by their names, those alone that the operator lists."""

import importlib
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from heliograph.backends import Backend, FatalError, JobContext, UsageError
from heliograph_worker.backends.mistakes import all_of
from heliograph_worker.backends.table import Table

FunctionName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_.]*$")
]


class CallTable(Table):
    """What the operator says of it: the functions, as ``module:name``."""

    functions: tuple[FunctionName, ...] = Field(min_length=1)

    def check_worker(self) -> None:
        """Import every function; ``ValueError`` tells all that are not to be had."""
        with all_of() as found:
            for number, function in enumerate(self.functions):
                try:
                    _find(function)
                except FatalError as error:
                    found.add([f"functions.{number}: {error}"])


class _Call(BaseModel):
    """A call of one of the functions that the operator lists; what it returns is the result, a JSON value."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    args: list[Any] = Field(default_factory=list, description="The arguments, in order")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="The arguments by name")


def make(name: str, table: CallTable) -> Backend:
    """Make the backend."""
    which: Any = (Literal[table.functions], Field(description="Which function, as module:name"))
    model = create_model("Call", __base__=_Call, __doc__=_Call.__doc__, function=which)
    return table.backend(name, model, _run, about="Calls a function that is installed on the worker, by its name.")


def _run(parameters: Any, _: JobContext) -> object:
    function = _find(parameters.function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one of C code that does not tell
        signature = None
    if signature:
        try:
            signature.bind(*parameters.args, **parameters.kwargs)
        except TypeError as error:
            raise UsageError(f"{parameters.function}: {error}") from None
    return function(*parameters.args, **parameters.kwargs)


def _find(name: str) -> Callable[..., Any]:
    module, _, attributes = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (Exception, SystemExit) as error:  # an import may raise anything
        told = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise FatalError(f"{name} is not to be had on this worker: {told}") from error
    if not callable(found):
        raise FatalError(f"{name} is no function but {type(found).__qualname__}")
    return found  # type: ignore[no-any-return] # narrowed by callable, which keeps Any
