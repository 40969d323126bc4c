"""Masks what is secret in what a job tells: in texts, in JSON values, and in a stream that comes in pieces."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

MASK = "**********"  # as Pydantic shows a secret
LEAST_CHARACTERS = 4  # what is shorter stands in too many texts by chance, and is not masked

_MASK = MASK.encode()
_FEW = 15  # bytes; ends up to this length are looked up, longer ones searched for


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The texts to be masked, their first few bytes, and those that are longer than these."""

    all: tuple[bytes, ...]
    beginnings: frozenset[bytes]
    long: tuple[bytes, ...]

    @classmethod
    def of(cls, patterns: Sequence[bytes]) -> "_Patterns":
        beginnings = {each[:length] for each in patterns for length in range(1, min(len(each), _FEW + 1))}
        long = (each for each in patterns if len(each) > _FEW + 1)
        return cls(tuple(patterns), frozenset(beginnings), tuple(long))


class Mask:
    """Knows the texts of secret values, also as other programs write them: quoted by Python, in JSON, in a URL.

    Parameters
    ----------
    secrets
        JSON values. The texts within are secret, each line of several for itself as well, and so are the numbers.
    """

    def __init__(self, secrets: Iterable[Any]) -> None:
        texts = {form for secret in secrets for text in _texts(secret) for form in _forms(text)}
        patterns = (text.encode(errors="surrogatepass") for text in texts if len(text) >= LEAST_CHARACTERS)
        self._patterns = _Patterns.of(sorted(patterns))

    @property
    def size(self) -> int:
        """How many texts it looks for."""
        return len(self._patterns.all)

    def text(self, text: str) -> str:
        """Return a text with the mask in place of each secret."""
        data = text.encode(errors="surrogatepass")
        if not self._is_in(data):  # most texts, and results have 100,000 of them
            return text
        stream = self.stream()
        return (stream.feed(data) + stream.close()).decode(errors="surrogatepass")

    def value(self, value: Any) -> Any:
        """Return a JSON value in which texts, names and numbers are masked."""
        return self._masked(value) if self._is_in(json.dumps(value).encode()) else value

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(name): self._masked(each) for name, each in value.items()}
            case list():
                return [self._masked(each) for each in value]
            case bool() | None:
                return value
            case _:
                return MASK if str(value).encode() in self._patterns.all else value

    def _is_in(self, data: bytes) -> bool:
        return any(pattern in data for pattern in self._patterns.all)

    def finds_in(self, value: Any) -> bool:
        """Say whether a JSON value holds a secret."""
        return bool(self.value(value) != value)

    def stream(self) -> "MaskedStream":
        """Return a mask for one stream of bytes."""
        return MaskedStream(self._patterns)


class MaskedStream:
    """Masks a stream of bytes, wherever it is cut.

    Held back is only an end that may be the beginning of a secret, until what follows tells; so whole lines pass at
    once, and nobody gets a secret in two halves by writing it slowly. Secrets that overlap have one mask.
    """

    def __init__(self, patterns: "_Patterns") -> None:
        self._patterns = patterns
        self._held = b""
        self._covered = 0  # so many bytes of what is held lie under a mask that was told already

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, and return what may be told now."""
        data = self._held + data
        return self._told(data, self._pending(data))

    def close(self) -> bytes:
        """Return what is left: nothing follows."""
        return self._told(self._held, len(self._held))

    def _told(self, data: bytes, end: int) -> bytes:
        """Return ``data`` up to ``end``, masked, and hold the rest; a secret that begins before goes as a whole."""
        told, here = [], self._covered
        for begin, over in self._found(data, end):
            if begin >= here:
                told += [data[here:begin], _MASK]
            here = max(here, over)
        told.append(data[here:end])
        self._held, self._covered = data[end:], max(0, here - end)
        return b"".join(told)

    def _found(self, data: bytes, end: int) -> list[tuple[int, int]]:
        """Return where secrets that begin before ``end`` lie, by their beginnings; one that overlaps itself once."""
        found = []
        for pattern in self._patterns.all:
            size = len(pattern)
            begin = data.find(pattern, 0, end + size - 1)
            while begin >= 0:
                last = begin
                while (further := data.rfind(pattern, last + 1, min(last + size, end) + size - 1)) >= 0:
                    last = further
                found.append((begin, last + size))
                begin = data.find(pattern, last + 1, end + size - 1)
        return sorted(found)

    def _pending(self, data: bytes) -> int:
        """Return where the longest end begins that may be the beginning of a secret."""
        ends = range(min(_FEW, len(data)), 0, -1)
        short = next((length for length in ends if data[-length:] in self._patterns.beginnings), 0)
        return min([len(data) - short, *(_beginning(pattern, data) for pattern in self._patterns.long)])


def _beginning(pattern: bytes, data: bytes) -> int:
    """Return where the longest end of ``data``, of more than a few bytes, begins that begins ``pattern``."""
    head = pattern[: _FEW + 1]
    here = data.find(head, max(0, len(data) - len(pattern) + 1))
    while here >= 0 and not pattern.startswith(data[here:]):
        here = data.find(head, here + 1)
    return here if here >= 0 else len(data)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
            yield from value.splitlines()
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case bool() | None:
            return
        case _:
            yield str(value)


def _forms(text: str) -> Iterator[str]:
    """Yield a text as it is, and as it stands in what quotes it."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield repr(text.encode(errors="surrogatepass"))[2:-1]
    for safe in ("/", ""):
        yield quote(text, safe=safe, errors="backslashreplace")
