"""JSON as text: how parameters and results are kept, and how equal requests are told."""

from typing import Any

import orjson

from heliograph.errors import InvalidInputError


def json_text(value: Any) -> str:
    """Write a JSON value as it was given, keys in their order: people read results as their backend wrote them.

    Raises
    ------
    InvalidInputError
        It is none: an integer beyond 64 bits, a lone surrogate, nested too deep.
    """
    return _write(value, 0)


def canonical_json(value: Any) -> str:
    """Write a JSON value with sorted keys, so that equal values have equal texts; raises as ``json_text`` does."""
    return _write(value, orjson.OPT_SORT_KEYS)


def _write(value: Any, option: int) -> str:
    try:
        return orjson.dumps(value, option=option).decode()
    except orjson.JSONEncodeError as error:
        raise InvalidInputError(f"this cannot be stored: {error}") from error
