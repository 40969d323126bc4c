"""Reading a JSON body, and refusing at the door what could not be kept or written again.

JSON's grammar allows what the parts behind it do not: integers beyond 64 bits, infinities (also as 1e999), half a
surrogate pair, NUL in keys, and any depth.
"""

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from heliograph.errors import BodyTooLargeError, InvalidInputError, MalformedBodyError

MOST_DEPTH = 100
MOST_VALUES = 100_000  # walking them takes 70 ms, in which nobody else is served; a body of 1 MB can hold 520,000
_MOST_LENGTH_DIGITS = 18  # Python refuses to read numbers of thousands of digits
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
    return parse_json(await read_body(request, most_bytes))


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body; raises ``BodyTooLargeError`` as ``read_json`` does."""
    refuse_declared(request, most_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise BodyTooLargeError(f"the body is larger than {most_bytes} bytes")
    return bytes(body)


def refuse_declared(request: Request, most_bytes: int) -> None:
    """Refuse a body by the length that its sender declares, before any of it is read.

    Raises
    ------
    BodyTooLargeError
        It is said to be longer than ``most_bytes``.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > _MOST_LENGTH_DIGITS or int(declared) > most_bytes):
        raise BodyTooLargeError(f"the body is larger than {most_bytes} bytes")


def parse_json(body: bytes) -> Any:
    """Return the JSON value that ``body`` holds; raises as ``read_json`` does."""
    value = parse_unjudged(body)
    refuse_faults(value)
    return value


def parse_unjudged(body: bytes) -> Any:
    """Return the JSON value that ``body`` holds, whose parts ``refuse_faults`` has still to judge.

    Raises
    ------
    MalformedBodyError
        Not JSON, or not UTF-8.
    InvalidInputError
        It is nested too deep to be read.
    """
    if not body:
        raise MalformedBodyError("the body is empty")
    try:
        return from_json(body, allow_inf_nan=True, cache_strings="keys")
    except ValueError as error:
        if "recursion limit" in str(error):
            raise InvalidInputError.of("", f"the body is nested deeper than {MOST_DEPTH} levels") from error
        malformed = MalformedBodyError(f"the body is not JSON: {error}")
        if "hex escape" not in str(error):
            raise malformed from error
    try:
        return json.loads(body)  # with half a surrogate pair somewhere, so that the field at fault can be named
    except (ValueError, RecursionError):
        raise malformed from None


def refuse_faults(value: Any) -> None:
    """Raise ``InvalidInputError`` where a JSON value cannot be kept, or holds more than 100,000 values."""
    if fault := _scalar_fault(value):
        raise InvalidInputError.of("", fault)
    # A stack of iterators, not recursion: the depth is the client's to choose, and what is kept grows with it alone.
    levels = [_inside(value)]
    path: list[str | int] = []
    count = 0
    while levels:
        for part, inner in levels[-1]:
            count += 1
            if count > MOST_VALUES:
                raise InvalidInputError.of("", f"the body holds more than {MOST_VALUES} values")
            if len(levels) > MOST_DEPTH:
                raise InvalidInputError.of(_dotted(path[:5]), f"nested deeper than {MOST_DEPTH} levels")
            if fault := (_key_fault(part) if isinstance(part, str) else None) or _scalar_fault(inner):
                raise InvalidInputError.of(_dotted([*path, part]), fault)
            if isinstance(inner, dict | list):
                path.append(part)
                levels.append(_inside(inner))
                break
        else:
            levels.pop()
            if path:
                path.pop()


def _inside(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Return what a value holds, each with its key or its number."""
    if isinstance(value, dict):
        return iter(value.items())
    return enumerate(value if isinstance(value, list) else ())


def _key_fault(key: str) -> str | None:
    if "\x00" in key:
        return "a key holds a NUL character"
    return None if _is_whole(key) else "a key holds half of a surrogate pair"


def _scalar_fault(value: Any) -> str | None:
    if isinstance(value, str):
        return None if _is_whole(value) else "a text holds half of a surrogate pair"
    if isinstance(value, float):
        return None if isfinite(value) else "a number is not finite"
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return "an integer is beyond 64 bits"
    return None


def _is_whole(text: str) -> bool:
    if text.isascii():  # nearly always, and known without a look at the characters
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dotted(path: Sequence[str | int]) -> str:
    text = ".".join(str(part).replace("\x00", "\\0") for part in path)
    return text.encode(errors="backslashreplace").decode()
