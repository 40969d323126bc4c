"""A contact directory in a YAML file, which may be edited at any time."""

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest
from heliograph_notifier.contacts.port import Contact, in_roles
from heliograph_notifier.contacts.reading import ContactsFileError, read_directory

_log = structlog.get_logger()

MOST_BYTES = 16 * 1024 * 1024  # far more than people write; what is larger is surely another file


class FileContacts:
    """Answers from a file that is read again when it has changed; a broken edit leaves what held before.

    Construction reads it, and raises ``ContactsFileError`` where that cannot be done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp, self._contacts = _read(path)

    async def find(self, request: ContactRequest) -> Sequence[Wish]:
        """Return whom the file names now."""
        contacts = await asyncio.to_thread(self._now)
        return in_roles(contacts.get(request.subject.strip(), ()), request.roles)

    async def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _now(self) -> Mapping[str, tuple[Contact, ...]]:
        with self._lock:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return self._contacts
            self._stamp = stamp  # whatever comes of it, this state of the file is read once
            try:
                self._stamp, self._contacts = _read(self._path)
            except ContactsFileError as error:
                _log.error("the contact directory cannot be read; what it said before still holds", why=str(error))
            else:
                _log.info("the contact directory was read again", subjects=len(self._contacts))
            return self._contacts


_Stamp = tuple[int, int, int] | None


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file is written or replaced; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[_Stamp, Mapping[str, tuple[Contact, ...]]]:
    try:
        with path.open("rb") as opened:
            found = os.fstat(opened.fileno())
            text = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ContactsFileError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    if len(text) > MOST_BYTES:
        raise ContactsFileError(f"{path} is larger than {MOST_BYTES} bytes")
    try:
        contacts = read_directory(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise ContactsFileError(f"{path} is not text in UTF-8") from None
    except ContactsFileError as error:
        raise ContactsFileError(f"{path}, {error}") from None
    return (found.st_mtime_ns, found.st_size, found.st_ino), contacts
