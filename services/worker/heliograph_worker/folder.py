"""Where an attempt finds its places; known to the worker and to the child process."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_OUR_FOLDER = stat.S_IFDIR | stat.S_IRWXU


@dataclass(frozen=True, slots=True)
class Folder:
    """The places of one attempt, all below ``root`` and removed with it."""

    root: Path

    @property
    def work(self) -> Path:
        """The job's current folder: empty at the start."""
        return self.root / "work"

    @property
    def artifacts(self) -> Path:
        """Where the child puts files for the worker to take."""
        return self.root / "artifacts"

    @property
    def temporary(self) -> Path:
        """The job's TMPDIR."""
        return self.root / "tmp"

    def is_untouched(self) -> bool:
        """Say whether all is as it was made: the places are there, and empty."""
        places = (self.work, self.artifacts, self.temporary)
        try:
            return (
                len(os.listdir(self.root)) == len(places)  # noqa: PTH208 - asked after every job
                and all(place.lstat().st_mode == _OUR_FOLDER for place in places)
                and not any(map(os.listdir, places))
            )
        except OSError:
            return False

    def make(self) -> None:
        """Make the places."""
        for place in (self.work, self.artifacts, self.temporary):
            place.mkdir(mode=stat.S_IRWXU)

    def give(self, user: int, group: int) -> None:
        """Give the places to another user; ``root`` stays ours, so that none of them can be replaced by a link."""
        for place in (self.work, self.artifacts, self.temporary):
            os.chown(place, user, group)
        os.chown(self.root, -1, group)
        self.root.chmod(stat.S_IRWXU | stat.S_IXGRP)


def open_artifact(path: Path) -> BinaryIO:
    """Open a file that a job made, which may be anything: no link is followed, and no pipe waited for.

    Raises
    ------
    OSError
        It is no regular file of the user whose folder it lies in.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_uid != path.parent.lstat().st_uid:
        os.close(descriptor)
        raise PermissionError(f"it is no regular file of the job's: {path.name}")
    return os.fdopen(descriptor, "rb")
