"""What a notice says, independent of the channel that lays it out."""

from dataclasses import dataclass, replace

from heliograph.jobs.model import Artifact
from heliograph.notices.model import Occasion, Subject

Row = tuple[str, str]  # a name, which may be empty, and a value


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file that the job made: its name, and its size in words."""

    name: str
    size: str


@dataclass(frozen=True, slots=True)
class Link:
    """An address that is worth a click, and what it leads to. None carries a token that gives access."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice, ready to be laid out. Every text is clean: no secrets, no control characters; nothing is escaped.

    ``state`` is the word that stands for all of it: "done", "failed", "test". ``title`` is one line that holds state,
    product, time and short id. ``outline`` holds what may be said on any channel; the rest is left out of a notice by
    ``brief``. ``thread`` is alike for all notices that belong together. ``backend`` is what did the work, where one
    did. ``command`` fetches the job with the reader's own token, ``snippet`` asks for the same again in Python.
    ``links`` lead to the work, ``choices`` to what the reader may do about being told, and ``why`` says in a sentence
    why they are; ``unsubscribe`` takes the one click of RFC 8058. Of what ``is_brief`` a channel adds nothing of its
    own.
    """

    subject: Subject
    occasion: Occasion
    state: str
    short_id: str
    product: str
    title: str
    headline: str
    summary: str
    thread: str
    outline: tuple[Row, ...] = ()
    backend: str | None = None
    message: str | None = None
    error: str | None = None
    sections: tuple[Section, ...] = ()
    files: tuple[File, ...] = ()
    picture: Artifact | None = None
    links: tuple[Link, ...] = ()
    choices: tuple[Link, ...] = ()
    why: str = ""
    unsubscribe: str | None = None
    command: str | None = None
    snippet: str | None = None
    is_confidential: bool = False
    is_brief: bool = False

    def brief(self) -> "Notice":
        """Return what may be said where others might read it: that it happened, to what, and when."""
        return replace(
            self, message=None, error=None, sections=(), files=(), picture=None, command=None, snippet=None,
            is_brief=True,
        )  # fmt: skip
