"""Folders for attempts, and what to do with those that a killed worker left behind."""

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from heliograph_worker.account import Account
from heliograph_worker.folder import Folder

_LOCK_NAME = re.compile(r"[0-9]+-[0-9a-f]{6}\.lock")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_PASSABLE = stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH  # others may go through, and see nothing

_log = structlog.get_logger(__name__)


class ScratchError(Exception):
    """The scratch folder cannot be used, and why."""


class Scratch:
    """The scratch folder of one worker process, below a root that several may share.

    A file lock held for life says that a worker lives: it ends with the process however that dies, and works across
    containers on one volume, where a process id means nothing. With ``reachable``, users to whom attempts' folders are
    given can get there; they can list and read nothing else on the way.
    """

    def __init__(self, root: Path, *, reachable: bool = False) -> None:
        self._root = root
        self._mode = _PASSABLE if reachable else stat.S_IRWXU
        self._lock: int | None = None
        self._own: Path | None = None
        self._untouched: list[Folder] = []

    @property
    def folder(self) -> Path:
        """Our own folder, while it is open."""
        assert self._own, "open it first"
        return self._own

    def open(self) -> None:
        """Remove what dead workers left, and make a folder of our own.

        Raises
        ------
        ScratchError
            Others than this process's user could meddle with the root, or they cannot reach it and should.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_ours(self._root)
        if self._mode == _PASSABLE:
            self._root.chmod(_PASSABLE)
            _require_passable(self._root)
        for path in self._root.iterdir():
            if _LOCK_NAME.fullmatch(path.name):
                _remove_if_dead(path)
        while self._lock is None:
            name = f"{os.getpid()}-{secrets.token_hex(3)}"
            self._lock = _acquire(self._root / f"{name}.lock")
            self._own = self._root / name
        self.folder.mkdir(mode=0o700)
        self.folder.chmod(self._mode)

    async def close(self) -> None:
        """Remove our own folder."""
        if self._lock is not None and self._own is not None:
            await asyncio.to_thread(_remove, self._own)
            self._own.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = self._own = None
            self._untouched.clear()

    @asynccontextmanager
    async def attempt(self, account: Account | None = None) -> AsyncIterator[Folder]:
        """Make the folder of an attempt, for the account that it runs under, and remove it afterwards.

        One in which nothing was left, as of most short jobs, serves the next attempt under another name.
        """
        folder = self._untouched.pop() if self._untouched and not account else self._new()
        if account:
            folder.give(account.uid, account.gid)
        try:
            yield folder
        finally:
            if not account and folder.is_untouched():
                self._untouched.append(Folder(folder.root.rename(self.folder / secrets.token_hex(8))))
            else:
                # Python would hold a file open at every level, and who may run anything can make thousands.
                await asyncio.to_thread(_remove_at_any_depth if account else _remove, folder.root)

    def _new(self) -> Folder:
        folder = Folder(Path(tempfile.mkdtemp(dir=self.folder)))
        folder.make()
        return folder


def _require_ours(root: Path) -> None:
    """Whoever may write there could have us remove, or run jobs in, what they put there."""
    about = root.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise ScratchError(f"the scratch folder {root} is no folder: set HELIOGRAPH_SCRATCH to another")
    if about.st_uid != os.geteuid():
        raise ScratchError(
            f"the scratch folder {root} belongs to user {about.st_uid}, and this is user {os.geteuid()}: "
            "set HELIOGRAPH_SCRATCH to a folder of this user's"
        )
    if about.st_mode & _WRITABLE_BY_OTHERS:
        raise ScratchError(f"the scratch folder {root} may be written by other users: run chmod 700 {root}")


def _require_passable(root: Path) -> None:
    for folder in root.resolve().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise ScratchError(
                f"the users under whom jobs are to run cannot reach the scratch folder {root}, for {folder} is closed "
                "to them: set HELIOGRAPH_SCRATCH to a folder below one that all may enter"
            )


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
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # gone, or no file of a worker's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # its worker lives
    else:
        folder = lock.with_suffix("")
        if not folder.is_symlink():
            _remove(folder)
        lock.unlink(missing_ok=True)
        _log.info("scratch.removed", folder=str(folder))
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder with all in it, also where a job took away its own right to write there.

    Root needs no such right, and must not ask for it by path: another user's job could have put a link there meanwhile.
    """

    def unlock(function: Callable[[str], Any], path: str, _: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(stat.S_IRWXU)
            if Path(path).is_dir() and not Path(path).is_symlink():
                Path(path).chmod(stat.S_IRWXU)
                shutil.rmtree(path, ignore_errors=True)
            else:
                function(path)

    with suppress(RecursionError):  # a job made more folders within each other than Python can go down
        shutil.rmtree(folder, onerror=unlock if os.geteuid() else lambda *_: None)
    if folder.exists():
        _remove_at_any_depth(folder)


def _remove_at_any_depth(folder: Path) -> None:
    """Remove a folder as ``rm`` does: it follows no link, goes down any way, and holds few files open on it."""
    with suppress(OSError):
        subprocess.run(["rm", "-rf", "--", folder], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603, S607 - the worker's own PATH, and no shell
    if folder.exists():
        _log.warning("scratch.left", folder=str(folder))
