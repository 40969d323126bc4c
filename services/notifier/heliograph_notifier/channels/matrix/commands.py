"""What people may say to the account, read from their words: a pure function."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

PREFIXES = ("!heliograph", "!h")
LONGEST = timedelta(days=365)
_MOST_WORDS = 6
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LENGTH = re.compile(r"([1-9][0-9]{0,4})(m|h|d|w)")
_JOB = re.compile(r"(?:[0-9A-Z]{18})?[0-9A-HJKMNP-TV-Z]{8}")  # all of an id, or the end of it that notices name


@dataclass(frozen=True, slots=True)
class Help:
    """Say what can be said."""


@dataclass(frozen=True, slots=True)
class Link:
    """Link the speaker to the person whose code this is."""

    code: str


@dataclass(frozen=True, slots=True)
class Status:
    """Say how the speaker's jobs stand, or one of them."""

    job: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a job."""

    job: str


@dataclass(frozen=True, slots=True)
class Mute:
    """Tell the speaker nothing more, or nothing of one job; without a length for good."""

    job: str | None
    length: timedelta | None


@dataclass(frozen=True, slots=True)
class Unmute:
    """End the speaker's mutes, or those of one job."""

    job: str | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """Tell the speaker in this room from now on."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Something that is no command; ``why`` is a sentence for the speaker."""

    why: str


Command = Help | Link | Status | Cancel | Mute | Unmute | Here | Unclear


def parse(body: str, *, is_direct: bool) -> Command | None:
    """Return what somebody asks for; None where they do not speak to the account.

    In a room of two everything is meant for it, elsewhere what begins with one of its prefixes.
    """
    words = _own_words(body)
    if words and words[0].lower() in PREFIXES:
        words = words[1:] or ["help"]
    elif not is_direct or not words:
        return None
    word, given = words[0].lower(), words[1:]
    read = _READ.get(word)
    if read is None or len(words) > _MOST_WORDS:
        return Unclear("I do not know that word.")
    return read(given)


def _own_words(body: str) -> list[str]:
    """Return the words of the first line that is not a quotation of what is answered."""
    own = (line for line in body[:1_000].splitlines() if line.strip() and not line.startswith(">"))
    return next(own, "").split()


def _job(word: str) -> str | None:
    return word.upper() if _JOB.fullmatch(word.upper()) else None


def _length(word: str) -> timedelta | None:
    found = _LENGTH.fullmatch(word.lower())
    return min(int(found[1]) * _UNITS[found[2]], LONGEST) if found else None


def _no_job(word: str) -> Unclear:
    return Unclear(f"{word[:40]} is not the id of a job: it is the 8 characters that messages about it name.")


def _link(given: Sequence[str]) -> Command:
    return Link("".join(given)) if given else Unclear("Say it with the code that you were given: link ABCDE-FGHJK")


def _status(given: Sequence[str]) -> Command:
    if not given:
        return Status()
    job = _job(given[0])
    return Status(job) if job else _no_job(given[0])


def _cancel(given: Sequence[str]) -> Command:
    if len(given) != 1:
        return Unclear("Say which job: cancel 3F2K9ABC")
    job = _job(given[0])
    return Cancel(job) if job else _no_job(given[0])


def _mute(given: Sequence[str]) -> Command:
    if not given or len(given) > 2:
        return Unclear("Say for how long, or of which job: mute 2h, mute 3F2K9ABC, mute all 1d")
    what, lengths = given[0].lower(), [_length(word) for word in given[1:]]
    if None in lengths:
        return Unclear(f"{given[1][:40]} is no length of time: 30m, 2h, 1d and 1w are.")
    length = lengths[0] if lengths else None
    if what == "all":
        return Mute(None, length)
    if not lengths and (only := _length(what)):
        return Mute(None, only)
    job = _job(what)
    return Mute(job, length) if job else _no_job(given[0])


def _unmute(given: Sequence[str]) -> Command:
    if not given or given[0].lower() == "all":
        return Unmute()
    job = _job(given[0])
    return Unmute(job) if job else _no_job(given[0])


_READ: dict[str, Callable[[Sequence[str]], Command]] = {
    "help": lambda _: Help(),
    "link": _link,
    "status": _status,
    "cancel": _cancel,
    "mute": _mute,
    "unmute": _unmute,
    "here": lambda _: Here(),
}
