"""Where a backend is found: ``module:attribute``, as in an entry point, or a table of the operator's file.

Imported by child processes too.
"""

import importlib
import traceback
from typing import Any

from heliograph.backends.backend import Backend

_DECLARED = "declared:"  # see ``heliograph_worker.backends.declared``


def resolve(source: str) -> Backend:
    """Import the backend that ``module:attribute`` names, or make the one that an operator declared.

    Raises
    ------
    TypeError
        What is found there is no backend. Whatever else its import raises passes.
    """
    if source.startswith(_DECLARED):
        from heliograph_worker.backends.declared import rebuild  # noqa: PLC0415 - a plugin's process does without

        return rebuild(source)
    module, _, attributes = source.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    if not isinstance(found, Backend):
        raise TypeError(f"{source} is no heliograph backend but {type(found).__qualname__}")
    return found


def leads_nowhere(source: str, error: BaseException) -> bool:
    """Whether ``resolve`` found no such module or no such name in it, so that a traceback would say no more."""
    if isinstance(error, ModuleNotFoundError):
        module = source.partition(":")[0]
        return error.name is not None and f"{module}.".startswith(f"{error.name}.")
    if not isinstance(error, AttributeError) or error.__traceback__ is None:
        return False
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_code is resolve.__code__


def source_of(backend: Backend) -> str:
    """Return where a backend is found that decorates a function of a module."""
    return f"{backend.function.__module__}:{backend.function.__qualname__}"
