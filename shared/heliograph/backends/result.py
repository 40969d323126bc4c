"""What a backend may return: a JSON value that every reader of the job can take."""

import json
import math
from typing import Any

from pydantic import BaseModel

from heliograph.backends.errors import FatalError

MAX_BYTES = 1_000_000  # as JSON; larger results belong into artifacts. A stored job may have 16 MB in all.
MAX_DEPTH = 100  # MongoDB and many parsers refuse deeper nesting, from about 180 on
_INT_RANGE = range(-(2**63), 2**63)
_TOO_LARGE = f"result: takes more than {MAX_BYTES:,} bytes as JSON; keep large results as artifacts"


def as_json(result: object) -> str:
    """Return a backend's result as compact JSON.

    Raises
    ------
    FatalError
        It is no JSON value, or too large or too deep; the message says where.
    """
    text = json.dumps(_Walk().plain(result, "result", 1), ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise FatalError("result: holds text that is not valid Unicode (a lone surrogate)") from None
    if size > MAX_BYTES:
        raise FatalError(_TOO_LARGE)
    return text


class _Walk:
    """One pass over a result; counts its values, so that an endless or a huge one is refused early."""

    def __init__(self) -> None:
        self._left = MAX_BYTES // 2  # no value takes less than a digit and a comma

    def plain(self, value: object, path: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise FatalError(_TOO_LARGE)
        if depth > MAX_DEPTH:
            raise FatalError(f"result: is nested deeper than {MAX_DEPTH} levels")
        match value:
            case list() | tuple():
                return [self.plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
            case dict():
                return {
                    self._key(key, path): self.plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()
                }
            case BaseModel():
                return self.plain(value.model_dump(mode="json"), path, depth)
        return _scalar(value, path)

    @staticmethod
    def _key(key: object, path: str) -> str:
        if not isinstance(key, str):
            raise FatalError(f"{path}: has a key that is no text: {type(key).__qualname__}")
        return key


def _scalar(value: object, path: str) -> str | float | None:
    match value:
        case None | bool():
            return value
        case str():
            if len(value) > MAX_BYTES:
                raise FatalError(_TOO_LARGE)
            return value
        case int():
            if int(value) not in _INT_RANGE:
                raise FatalError(f"{path}: is an integer of more than 64 bits")
            return value
        case float():
            if not math.isfinite(value):
                raise FatalError(f"{path}: {float(value)} is no JSON number; use null")
            return value
    kind = type(value)
    raise FatalError(f"{path}: {kind.__module__}.{kind.__qualname__} is no JSON value")
