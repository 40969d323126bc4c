"""Masks what is secret in what a job tells: in texts, in JSON values, and in a stream that comes in pieces."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from heliograph.writings import writings

MASK = "**********"  # as Pydantic shows a secret
LEAST_CHARACTERS = 4  # what is shorter stands in too many texts by chance, and is not masked

_MASK = MASK.encode()
_BETWEEN = b"\xff"  # two texts that are searched at once: no UTF-8 has it
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


def holds_mask(value: Any) -> bool:
    """Say whether a JSON value shows a mask where a secret was given."""
    if isinstance(value, (dict, list)):
        return any(map(holds_mask, value.values() if isinstance(value, dict) else value))
    return bool(value == MASK)


class Mask:
    """Knows the texts of secret values, also as other programs write them: see ``heliograph.writings``.

    Parameters
    ----------
    secrets
        JSON values. The texts within are secret, each line of several for itself as well, and so are the numbers, and
        texts that are numbers. Names are not: most are those of a schema.
    """

    def __init__(self, secrets: Iterable[Any]) -> None:
        texts = {text for secret in secrets for text in _texts(secret) if len(text) >= LEAST_CHARACTERS}
        patterns = {form.encode(errors="surrogatepass") for text in texts for form in writings(text)}
        self._patterns = _Patterns.of(sorted(patterns))
        self._numbers = {number for text in texts for number in _numbers(text)}

    @property
    def size(self) -> int:
        """How many texts it looks for."""
        return len(self._patterns.all)

    def text(self, text: str) -> str:
        """Return a text with the mask in place of each secret."""
        return self._told([text])[0]

    def value(self, value: Any) -> Any:
        """Return a JSON value in which texts, names and numbers are masked. Names that differ do so afterwards."""
        texts = [leaf for leaf in _leaves(value) if isinstance(leaf, str)]
        told = self._told(texts)
        return value if told is texts and not self._numbers else self._rebuilt(value, iter(told))

    def stream(self) -> "MaskedStream":
        """Return a mask for one stream of bytes."""
        return MaskedStream(self._patterns)

    def _told(self, texts: list[str]) -> list[str]:
        """Return the texts, masked; the very same list where there is nothing to mask.

        They are searched at once: a result has 100,000 of them, and there may be 2,000 patterns.
        """
        data = _BETWEEN.join(text.encode(errors="surrogatepass") for text in texts)
        if not any(pattern in data for pattern in self._patterns.all):
            return texts
        return [told.decode(errors="surrogatepass") for told in self.stream().close(data).split(_BETWEEN)]

    def _rebuilt(self, value: Any, told: Iterator[str]) -> Any:
        """Return the value with these texts, in the order of ``_leaves``."""
        match value:
            case str():
                return next(told)
            case dict():
                names = MaskedNames()
                given = [(name, next(told), self._rebuilt(each, told)) for name, each in value.items()]
                for name, shown, _ in given:
                    if name == shown:  # these first: they keep their names
                        names.different(name, shown)
                return {names.different(name, shown): each for name, shown, each in given}
            case list():
                return [self._rebuilt(each, told) for each in value]
            case bool() | None:
                return value
            case _:
                return MASK if value in self._numbers or abs(value) in self._numbers else value


class MaskedNames:
    """Keeps names different that are alike once they are masked: from the second on they have a number."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._taken: Counter[str] = Counter()

    def different(self, name: str, shown: str) -> str:
        """Return the masked name as it stands for this one alone: "**********-2.txt" where there is one before it."""
        if name not in self._shown:
            head, mask, tail = shown.rpartition(MASK)
            free = shown
            while free in self._taken:
                self._taken[shown] += 1
                free = f"{head}{mask}-{self._taken[shown]}{tail}" if mask else f"{shown}-{self._taken[shown]}"
            self._taken[free] += 1
            self._shown[name] = free
        return self._shown[name]


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

    def close(self, data: bytes = b"") -> bytes:
        """Take the last piece, and return all that is left: nothing follows."""
        data = self._held + data
        return self._told(data, len(data))

    def _told(self, data: bytes, end: int) -> bytes:
        """Return ``data`` up to ``end``, masked, and hold the rest; a secret that begins before goes as a whole."""
        told, here = [], self._covered
        found = sorted(each for pattern in self._patterns.all for each in _lies(pattern, data, end))
        for begin, over in found:
            if begin >= here:
                told += [data[here:begin], _MASK]
            here = max(here, over)
        told.append(data[here:end])
        self._held, self._covered = data[end:], max(0, here - end)
        return b"".join(told)

    def _pending(self, data: bytes) -> int:
        """Return where the longest end begins that may be the beginning of a secret."""
        ends = range(min(_FEW, len(data)), 0, -1)
        short = next((length for length in ends if data[-length:] in self._patterns.beginnings), 0)
        return min([len(data) - short, *(_beginning(pattern, data) for pattern in self._patterns.long)])


def _lies(pattern: bytes, data: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Yield where a secret lies that begins before ``end``, from its first byte to after its last.

    Where it overlaps itself, all of that is one. Such places are as far apart as its bytes take to repeat: the search
    then goes on in leaps of that, for else a long one, such as a row of the same letter, took seconds.
    """
    size, stop = len(pattern), end + len(pattern) - 1
    here = data.find(pattern, 0, stop)
    while here >= 0:
        begin = last = here
        while last < (here := data.find(pattern, last + 1, stop)) < last + size:
            step, last = here - last, here
            for leap in (size // step * step, step):
                tail = pattern[-leap:]
                while last + leap < end and data.startswith(tail, last + size):
                    last += leap
        yield begin, last + size


def _beginning(pattern: bytes, data: bytes) -> int:
    """Return where the longest end of ``data``, of more than a few bytes, begins that begins ``pattern``."""
    head = pattern[: _FEW + 1]
    here = data.find(head, max(0, len(data) - len(pattern) + 1))
    while here >= 0 and not pattern.startswith(data[here:]):
        here = data.find(head, here + 1)
    return here if here >= 0 else len(data)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the names and the values within a JSON value that hold no further ones."""
    match value:
        case dict():
            for name, each in value.items():
                yield name
                yield from _leaves(each)
        case list():
            for each in value:
                yield from _leaves(each)
        case _:
            yield value


def _texts(value: Any) -> Iterator[str]:
    """Yield what is secret in a value, each line of several for itself too, and a whole number in both writings."""
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
            if isinstance(value, float) and value.is_integer():
                yield str(int(value))


def _numbers(text: str) -> Iterator[float]:
    """Yield the number that a text is, and without its sign, where these have as many digits as a secret needs."""
    for read in (int, float):
        with suppress(ValueError, OverflowError):
            number = read(text)
            yield from (each for each in (number, abs(number)) if len(f"{each:g}") >= LEAST_CHARACTERS)
