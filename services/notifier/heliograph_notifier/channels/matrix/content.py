"""Events as Matrix takes them, from words and markup: pure functions over plain dictionaries.

Nothing in them pings anybody: intentional mentions (Matrix v1.7) are stated, and empty. Markup is the subset that
``org.matrix.custom.html`` names; whatever stands in it was escaped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any, Self

Content = dict[str, Any]

# An event is at most 65,536 bytes; encrypted it grows by a third, and the envelope needs some room.
MOST_BYTES = 45_000
TEXT, NOTICE = "m.text", "m.notice"


@dataclass(frozen=True, slots=True)
class Text:
    """The same words twice: plain, for notifications and simple clients, and as HTML."""

    plain: str
    html: str

    @classmethod
    def of(cls, words: str) -> Self:
        """Return words as they are, whatever they look like; line breaks stay."""
        return cls(words, "<br>".join(escape(line) for line in words.split("\n")))

    @classmethod
    def bold(cls, words: str) -> Self:
        """Return words that stand out."""
        return cls(words, f"<strong>{escape(words)}</strong>")

    @classmethod
    def code(cls, words: str) -> Self:
        """Return words that are typed as they stand, on one line."""
        return cls(words, f"<code>{escape(words)}</code>")

    @classmethod
    def block(cls, words: str) -> Self:
        """Return lines of a machine's output."""
        return cls(words, f"<pre><code>{escape(words)}</code></pre>")

    @classmethod
    def link(cls, label: str, url: str) -> Self:
        """Return a link; an address that is none of the web is shown and leads nowhere."""
        plain = f"{label}: {url}"
        if not url.startswith(("https://", "http://")):
            return cls.of(plain)
        return cls(plain, f'<a href="{escape(url)}">{escape(label)}</a>')

    @classmethod
    def table(cls, rows: Sequence[tuple[str, str]], title: str | None = None) -> Self:
        """Return rows of a name, which may be empty, and a value, below a title where there is one."""
        cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
        plain = [f"{name}: {value}" if name else value for name, value in rows]
        head = f"<p><strong>{escape(title)}</strong></p>" if title else ""
        return cls(
            "\n".join([title, *plain] if title else plain), f"{head}<table><tbody>{''.join(cells)}</tbody></table>"
        )

    @classmethod
    def lines(cls, parts: Iterable["Text"], between: str = "<br>") -> Self:
        """Return a paragraph of several lines; ``between`` is what separates them in HTML."""
        kept = tuple(parts)
        return cls("\n".join(part.plain for part in kept), f"<p>{between.join(part.html for part in kept)}</p>")

    @classmethod
    def blocks(cls, parts: Iterable["Text"]) -> Self:
        """Return paragraphs and tables below each other; empty ones leave no gap."""
        kept = tuple(part for part in parts if part.plain)
        return cls("\n\n".join(part.plain for part in kept), "".join(part.html for part in kept))


def message(text: Text, kind: str = TEXT) -> Content:
    """Return a message of its own; a ``NOTICE`` is one that no other bot answers."""
    return {
        "msgtype": kind, "body": text.plain, "format": "org.matrix.custom.html", "formatted_body": text.html,
        "m.mentions": {},
    }  # fmt: skip


def edit(event: str, text: Text) -> Content:
    """Return what takes the place of an earlier message of ours; the star is for clients that know no edits."""
    starred = Text(f"* {text.plain}", f"* {text.html}")
    return message(starred) | {
        "m.new_content": message(text),
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }


def in_thread(content: Mapping[str, Any], root: str, *, answering: str | None = None) -> Content:
    """Return a message in the thread below ``root``; clients without threads see an answer to ``answering``."""
    relation = {"rel_type": "m.thread", "event_id": root, "is_falling_back": answering is None}
    return {**content, "m.relates_to": {**relation, "m.in_reply_to": {"event_id": answering or root}}}


def answer(content: Mapping[str, Any], event: str, root: str | None) -> Content:
    """Return an answer to somebody's message, in its thread where it has one."""
    if root is not None:
        return in_thread(content, root, answering=event)
    return {**content, "m.relates_to": {"m.in_reply_to": {"event_id": event}}}


def transaction(*words: object) -> str:
    """Return the id under which the homeserver takes the same event once; the same words give the same id."""
    return sha256("|".join(map(str, words)).encode()).hexdigest()[:40]


def weight(content: Mapping[str, Any]) -> int:
    """Return the bytes that it takes before it is encrypted; beyond ASCII, JSON writes six for a character."""
    return len(json.dumps(content, separators=(",", ":")))
