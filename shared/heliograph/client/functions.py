"""Python functions on their way to a worker: by their names, or with their code."""

import base64
import importlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

LONGEST_PICKLE = 700_000  # characters of base64, which the backend takes


class FunctionError(ValueError):
    """A function that cannot be sent, and why."""


def dotted_name(function: Callable[..., Any] | str) -> str:
    """Return the name by which a worker imports a function: ``module:name``. A text is such a name already.

    Raises
    ------
    FunctionError
        No import leads to it: a lambda, a function within a function, a method of an object, or one of ``__main__``.
    """
    if isinstance(function, str):
        return function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name:
        raise FunctionError(f"{function!r} has no name by which a worker could import it; give it as 'module:name'")
    if module == "__main__":
        raise FunctionError(f"{name} is defined in __main__, which a worker does not have; put it in a module")
    if "<" in name:
        what = "a lambda" if name.endswith("<lambda>") else "defined within a function"
        raise FunctionError(f"{module}.{name} is {what}, which nobody can import; define it at a module's top level")
    found: Any = sys.modules.get(module)
    for attribute in name.split("."):
        found = getattr(found, attribute, None)
    if found != function:
        raise FunctionError(f"{module}:{name} is another object than {function!r}; give the name of a function")
    return f"{module}:{name}"


def pickled(function: Callable[..., Any]) -> str:
    """Return a function as base64: with its code where cloudpickle is installed, else by its name.

    Raises
    ------
    FunctionError
        It cannot be pickled, or is too large.
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError:
        data = _by_name(function, name)
    else:
        try:
            data = cloudpickle.dumps(function)
        except Exception as error:
            raise FunctionError(f"{name} cannot be pickled: {error}") from error
    text = base64.b64encode(data).decode("ascii")
    if len(text) > LONGEST_PICKLE:
        raise FunctionError(
            f"{name} takes {len(text):,} characters, more than {LONGEST_PICKLE:,}: pass what it holds as an argument"
        )
    return text


def _by_name(function: Callable[..., Any], name: str) -> bytes:
    """Pickle without the code, which a worker then has to have."""
    hint = "pip install 'heliograph[functions]' sends a function with its code"
    if getattr(function, "__module__", None) == "__main__":
        raise FunctionError(f"{name} is defined in __main__, which a worker does not have; {hint}")
    try:
        return pickle.dumps(function)
    except Exception as error:
        raise FunctionError(f"{name} cannot be pickled by its name: {error}; {hint}") from error
