"""Where a backend is found: ``module:attribute``, as in an entry point. Imported by child processes too."""

import importlib
from typing import Any

from heliograph.backends.backend import Backend


def resolve(source: str) -> Backend:
    """Import the backend that ``module:attribute`` names.

    Raises
    ------
    TypeError
        What is found there is no backend. Whatever else its import raises passes.
    """
    module, _, attributes = source.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    if not isinstance(found, Backend):
        raise TypeError(f"{source} is no heliograph backend but {type(found).__qualname__}")
    return found


def source_of(backend: Backend) -> str:
    """Return where a backend is found that decorates a function of a module."""
    return f"{backend.function.__module__}:{backend.function.__qualname__}"
