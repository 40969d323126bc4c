"""Folders for attempts, and what to do with those that a killed worker left behind."""

import asyncio
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from heliograph_worker.folder import Folder

_log = structlog.get_logger(__name__)


class Scratch:
    """The scratch folder of one worker process, below a root that several may share.

    A file lock held for life says that a worker lives: it ends with the process however that dies, and works across
    containers on one volume, where a process id means nothing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock: int | None = None
        self._own: Path | None = None

    @property
    def folder(self) -> Path:
        """Our own folder, while it is open."""
        assert self._own, "open it first"
        return self._own

    def open(self) -> None:
        """Remove what dead workers left, and make a folder of our own."""
        self._root.mkdir(parents=True, exist_ok=True)
        for lock in self._root.glob("*.lock"):
            _remove_if_dead(lock)
        while self._lock is None:
            name = f"{os.getpid()}-{secrets.token_hex(3)}"
            self._lock = _acquire(self._root / f"{name}.lock")
            self._own = self._root / name
        self.folder.mkdir(mode=0o700)

    async def close(self) -> None:
        """Remove our own folder."""
        if self._lock is not None and self._own is not None:
            await asyncio.to_thread(_remove, self._own)
            self._own.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = self._own = None

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Folder]:
        """Make the folder of an attempt, and remove it afterwards."""
        folder = Folder(Path(tempfile.mkdtemp(dir=self.folder)))
        folder.make()
        try:
            yield folder
        finally:
            await asyncio.to_thread(_remove, folder.root)


def _acquire(lock: Path) -> int | None:
    """Make and lock a lock file; None where another worker, cleaning up, took it for a dead one's first."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    os.close(descriptor)
    return None


def _remove_if_dead(lock: Path) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # its worker lives
    else:
        _remove(lock.with_suffix(""))
        lock.unlink(missing_ok=True)
        _log.info("scratch.removed", folder=str(lock.with_suffix("")))
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder with all in it, also where a job took away its own right to write there."""

    def unlock(function: Callable[[str], Any], path: str, _: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(stat.S_IRWXU)
            if Path(path).is_dir() and not Path(path).is_symlink():
                Path(path).chmod(stat.S_IRWXU)
                shutil.rmtree(path, ignore_errors=True)
            else:
                function(path)

    shutil.rmtree(folder, onerror=unlock)
    if folder.exists():
        _log.warning("scratch.left", folder=str(folder))
