"""The time series to be searched: the sunspot numbers, an uploaded table or rows given with the job."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from heliograph.backends import UsageError

MIN_ROWS = 10  # fewer say nothing about a period
MAX_ROWS = 200_000
MAX_TIME = 1e9  # years
MAX_VALUE = 1e100  # its square is still a number


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time; times are in years."""

    name: str
    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def span(self) -> float:
        """From the first to the last time, in years."""
        return max(self.times) - min(self.times)


def sunspots() -> Series:
    """Return the yearly mean sunspot numbers, 1700 to 2008."""
    table = resources.files("heliograph_periodogram") / "data" / "sunspots.csv"
    with resources.as_file(table) as path, path.open(encoding="utf-8", newline="") as lines:
        return _checked("Yearly mean sunspot number", _parse(lines))


def from_table(path: Path) -> Series:
    """Read a CSV file: time in years, value, further columns ignored; a first line of words is taken for a heading.

    Raises
    ------
    UsageError
        The table cannot be used; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return _checked("Value", _parse(lines))
    except UnicodeDecodeError:
        raise UsageError("table: is not a CSV file in UTF-8") from None


def from_rows(rows: Sequence[tuple[float, float]]) -> Series:
    """Take rows of (time in years, value).

    Raises
    ------
    UsageError
        The rows cannot be used; the message names the row, counted from 0.
    """
    return _checked("Value", ((f"rows[{index}]", time, value) for index, (time, value) in enumerate(rows)))


def _parse(lines: Iterable[str]) -> Iterator[tuple[str, float, float]]:
    reader = csv.reader(lines)
    seen = False
    try:
        for cells in reader:
            if not cells or cells[0].lstrip().startswith("#"):
                continue
            where = f"table, line {reader.line_num}"
            row = _numbers(cells, where, may_be_words=not seen)
            seen = True
            if row is not None:
                yield (where, *row)
    except csv.Error as error:
        raise UsageError(f"table, line {reader.line_num}: {error}") from None


def _numbers(cells: list[str], where: str, *, may_be_words: bool) -> tuple[float, float] | None:
    if len(cells) < 2:
        raise UsageError(f"{where}: has no comma; a time in years and a value are expected, separated by a comma")
    try:
        return float(cells[0]), float(cells[1])
    except ValueError:
        if may_be_words and not any(_is_number(cell) for cell in cells[:2]):
            return None
        wrong = next(cell for cell in cells if not _is_number(cell))
        raise UsageError(f"{where}: {wrong[:40]!r} is not a number") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _checked(name: str, rows: Iterable[tuple[str, float, float]]) -> Series:
    times: list[float] = []
    values: list[float] = []
    for where, time, value in rows:
        if len(times) == MAX_ROWS:
            raise UsageError(f"{where}: is one too many; at most {MAX_ROWS:,} rows are taken")
        _check(where, "time", time, MAX_TIME)
        _check(where, "value", value, MAX_VALUE)
        times.append(time)
        values.append(value)
    if len(times) < MIN_ROWS:
        raise UsageError(f"{len(times)} rows are too few; at least {MIN_ROWS} are needed")
    if min(times) == max(times):
        raise UsageError(f"all times are alike ({times[0]:g}); a period needs a span of time")
    if min(values) == max(values):
        raise UsageError(f"all values are alike ({values[0]:g}); there is nothing periodic in them")
    return Series(name, tuple(times), tuple(values))


def _check(where: str, what: str, number: float, most: float) -> None:
    if not math.isfinite(number):
        raise UsageError(f"{where}: the {what} is {number}, not a finite number")
    if abs(number) > most:
        raise UsageError(f"{where}: the {what} {number:g} is beyond {most:g}")
