"""Reading a JSON body, and refusing at the door what could not be kept or written again.

JSON's grammar allows what the parts behind it do not: integers beyond 64 bits, infinities (also as 1e999), half a
surrogate pair, NUL in keys, and any depth.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from heliograph.errors import BodyTooLargeError, InvalidInputError, MalformedBodyError

MOST_DEPTH = 100
_LEAST, _MOST = -(2**63), 2**63 - 1


async def read_json(request: Request, most_bytes: int) -> Any:
    """Return the body's JSON value.

    Raises
    ------
    BodyTooLargeError
        Longer than ``most_bytes``; the rest is not read.
    MalformedBodyError
        Not JSON, or not UTF-8.
    InvalidInputError
        JSON with a value that cannot be kept; the error names its field.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most_bytes:
        raise BodyTooLargeError(f"the body is larger than {most_bytes} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise BodyTooLargeError(f"the body is larger than {most_bytes} bytes")
    return parse_json(bytes(body))


def parse_json(body: bytes) -> Any:
    """Return the JSON value that ``body`` holds; raises as ``read_json`` does."""
    try:
        value = from_json(body, allow_inf_nan=True, cache_strings="keys")
    except ValueError as error:
        if "recursion limit" in str(error):
            raise InvalidInputError.of("", f"the body is nested deeper than {MOST_DEPTH} levels") from error
        raise MalformedBodyError(f"the body is not JSON: {error}") from error
    for path, fault in _faults(value):
        raise InvalidInputError.of(path, fault)
    return value


def _faults(value: Any) -> Iterator[tuple[str, str]]:
    # A stack, not recursion: the depth is the client's to choose.
    stack: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    while stack:
        current, path = stack.pop()
        if isinstance(current, dict):
            for key, inner in current.items():
                if "\x00" in key:
                    yield _dotted((*path, key)), "a key holds a NUL character"
                stack.append((inner, (*path, key)))
        elif isinstance(current, list):
            stack.extend((inner, (*path, str(number))) for number, inner in enumerate(current))
        elif isinstance(current, float):
            if not isfinite(current):
                yield _dotted(path), "a number is not finite"
        elif isinstance(current, int) and not _LEAST <= current <= _MOST:
            yield _dotted(path), "an integer is beyond 64 bits"
        if len(path) > MOST_DEPTH:
            yield _dotted(path[:5]), f"nested deeper than {MOST_DEPTH} levels"


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part.replace("\x00", "\\0") for part in path)
