"""Values as people read them: durations, sizes, times, parameters; without secrets and without control characters."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from heliograph.channels import Row

MOST_VALUE = 160  # characters of a value in a table; two lines on a wide screen
MOST_ROWS = 40  # rows of a table; what is longer is read on the job's page

MOST_TEXT = 20_000  # characters of a text that are looked at at all
MOST_LINE = 4_000  # and of one that ends up on a line
MOST_NODES = 200  # values within a nested one that are looked at: more than its line can hold

HIDDEN = "(not shown)"
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, direction, halves of characters, breaks of Unicode's own
# "auth" counts as a word by itself alone, also within one written together (basicAuth): not as a part of "author".
_SECRET_NAME = re.compile(
    r"token|passw|pwd|passphrase|secret|credential|authori[sz]ation|bearer|signature|cookie"
    r"|(?:api|private|access|ssh)[ _-]?key|(?<![a-z])o?auth(?![a-z])"
    r"|(?-i:(?<=[a-z])Auth(?![a-z])|(?<![A-Za-z])auth(?=[A-Z]))",
    re.IGNORECASE,
)
# What gives access wherever it stands: a JSON web token, a bearer header, user and password of a URL. Each can begin
# only where its run of characters begins, so that no text takes more than linear time.
_SECRET_TEXT = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=bearer )[\w.~+/=-]{8,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)=[^&;\s]+")
_QUOTED_PAIR = re.compile(r"""(["'])([\w.-]{1,80})\1(\s{0,8}:\s{0,8})(["'])[^"'\n]+""")  # as JSON and Python write it
_LAST_WORD = re.compile(r"(?<!\S)\S+\Z")


def clean(text: str, most: int = MOST_TEXT) -> str:
    """Remove what gives access, and control and direction characters other than line breaks and tabs.

    Of a longer text than ``most`` only the beginning is looked at, up to the last whole word.
    """
    if len(text) > most:
        text = _LAST_WORD.sub("", text[:most]) or text[:most]
    kept = text if text.isascii() and text.isprintable() else "".join(filter(_is_seen, text))
    return _QUOTED_PAIR.sub(_without_quoted, _ASSIGNMENT.sub(_without_value, _SECRET_TEXT.sub(HIDDEN, kept)))


def _is_seen(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in _UNSEEN


def gives_access(text: str) -> bool:
    """Say whether a text holds what ``clean`` takes out because it gives access."""
    found = (*_ASSIGNMENT.finditer(text), *_QUOTED_PAIR.finditer(text))
    names = (each[1] if each.re is _ASSIGNMENT else each[2] for each in found)
    return bool(_SECRET_TEXT.search(text)) or any(is_secret_name(name) for name in names)


def is_secret_name(name: object) -> bool:
    """Say whether what is called so is better not shown."""
    return bool(_SECRET_NAME.search(str(name)))


def one_line(text: str, most: int = MOST_VALUE) -> str:
    """Clean a text and write it on one line of at most ``most`` characters."""
    line = " ".join(clean(text, MOST_LINE).split())
    return line if len(line) <= most and len(text) <= MOST_LINE else line[: most - 1].rstrip() + "…"


def duration(length: timedelta) -> str:
    """Write a duration in the two largest units that matter: 3.2 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    seconds = max(0.0, length.total_seconds())
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, smaller, size, smaller_size in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(count: int) -> str:
    """Write a number of bytes: 512 bytes, 1.5 kB, 20 MB."""
    if count < 1_000:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1_000
        if amount < 999.5 or unit == "GB":
            break
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def moment(when: datetime, time_zone: str | None = None, *, seconds: bool = False) -> str:
    """Write a time by the reader's clock, to the minute or to the second; in UTC where theirs is not known."""
    local = when.astimezone(_zone(time_zone))
    name = local.tzname() or ""
    # Zones without a name of their own are called by their offset alone, such as +03.
    zone = name if name[:1].isalpha() else f"UTC{name}"
    return f"{local:{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}} {zone}"


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # a zone that this machine's tables do not have, or no longer
        return UTC


def table(value: Any) -> tuple[Row, ...]:
    """Write a JSON value as rows of name and value; what is no object becomes a single row."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        return (("", _cell(value)),)
    given = [(name, each) for name, each in value.items() if each is not None]  # what was left open says nothing
    rows = [(_label(name), HIDDEN if is_secret_name(name) else _cell(each)) for name, each in given[:MOST_ROWS]]
    if len(given) > MOST_ROWS:
        rows.append(("…", f"and {len(given) - MOST_ROWS} more"))
    return tuple(rows)


def _label(name: object) -> str:
    return one_line(str(name).replace("_", " "), 60)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}" if value.is_integer() is False else f"{value:.15g}"
        case str():
            return one_line(value) or "(empty)"
        case list() if len(value) <= 20 and all(isinstance(each, str | int | float) for each in value):
            return one_line(", ".join(_cell(each) for each in value)) or "(empty list)"
        case _:
            return one_line(orjson.dumps(_Beginning().of(value), default=str).decode())


class _Beginning:
    """Copies the beginning of a nested value, without secrets: at least as much of it as a line can show.

    However large the value is, it looks at so many nodes and so much text alone; the first text that comes may be as
    long as a line's, since a secret that is cut in the middle is not recognised.
    """

    def __init__(self) -> None:
        self._nodes = MOST_NODES
        self._text = MOST_LINE

    def of(self, value: Any) -> Any:
        """Return the beginning of a value."""
        self._nodes -= 1
        if isinstance(value, Mapping):
            return {
                self._cleaned(str(name)): HIDDEN if is_secret_name(name) else self.of(each)
                for name, each in takewhile(self._goes_on, value.items())
            }
        if isinstance(value, list):
            return [self.of(each) for each in takewhile(self._goes_on, value)]
        return self._cleaned(value) if isinstance(value, str) else value

    def _goes_on(self, _: object) -> bool:
        return self._nodes > 0 and self._text > 0

    def _cleaned(self, text: str) -> str:
        self._text -= len(text)
        return clean(text, MOST_LINE)


def _without_value(assignment: re.Match[str]) -> str:
    name = assignment[1]
    return f"{name}={HIDDEN}" if is_secret_name(name) else assignment[0]


def _without_quoted(pair: re.Match[str]) -> str:
    quote, name, colon, opening = pair.groups()
    return f"{quote}{name}{quote}{colon}{opening}{HIDDEN}" if is_secret_name(name) else pair[0]
