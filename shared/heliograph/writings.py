"""How other programs write a text: quoted by Python, in JSON, in a URL or a form, and such a writing quoted again."""

import json
from string import ascii_letters, digits

_NEVER_QUOTED = ascii_letters + digits + "_.-~"
_UNQUOTED_TOO = ("", "/", "!'()*", "!#$%&'()*+,/:;=?@[]")  # by Python in all and in a path, by JavaScript, by requests


def _table(number: str, unquoted: str, space: str | None = None) -> tuple[str, ...]:
    """Return how each byte is written in a URL."""
    kept = {each: each for each in _NEVER_QUOTED + unquoted}
    if space:
        kept[" "] = space
    return tuple(kept.get(chr(byte), number.format(byte)) for byte in range(256))


_TABLES = tuple(
    table
    for number in ("%{:02X}", "%{:02x}")
    for table in (*(_table(number, each) for each in _UNQUOTED_TOO), _table(number, "", space="+"))
)


def writings(text: str) -> set[str]:
    """Return a text as it is, as it stands in what quotes it, and as it stands where that is quoted once more."""
    quoted, in_urls = _quoted(text), _in_urls(text)
    again = (_quoted(each) | _in_urls(each) for each in quoted if each != text)
    return {text}.union(quoted, in_urls, *again, (each.replace("%", "%25") for each in in_urls))


def _quoted(text: str) -> set[str]:
    """Return a text as JSON and Python quote it; these escape an apostrophe where a quotation mark stands before it."""
    data = text.encode(errors="surrogatepass")
    return {
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        *(shown for write in (repr, ascii) for shown in (write(text)[1:-1], write('"' + text)[2:-1])),
        *(repr(data)[2:-1], repr(b'"' + data)[3:-1]),
        "".join(each if each.isprintable() else " " for each in text),  # as our own backends show what others said
    }


def _in_urls(text: str) -> set[str]:
    data = text.encode(errors="surrogatepass")
    if not data.translate(None, delete=_NEVER_QUOTED.encode()):
        return set()
    return {"".join(map(table.__getitem__, data)) for table in _TABLES}
