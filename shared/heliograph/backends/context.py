"""The job as its backend sees it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol


class JobContext(Protocol):
    """What a backend may know of its job, and how it tells of its work. Any thread may call it."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""

    @property
    def deadline(self) -> datetime | None:
        """When the time limit ends it (UTC), if it has one."""

    @property
    def scratch(self) -> Path:
        """A folder of its own, empty at the start, removed afterwards; also the current folder."""

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop. A loop that cannot bear ``Cancelled`` in its midst asks here."""

    def progress(
        self,
        fraction: float | None = None,
        *,
        stage: str | None = None,
        eta: timedelta | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is; what is left out stays as it was.

        Parameters
        ----------
        fraction
            The part done, 0 to 1. Anything else is ignored, with a line in the job's log.
        stage
            What it is doing, in a word or two.
        eta
            How long it will still take.
        message
            A sentence for the person who waits.
        """

    def log(self, text: str) -> None:
        """Add a line to the job's log. What it prints, and what its subprocesses print, goes there as well."""

    def artifact(self, name: str, content: bytes | Path, *, media_type: str | None = None) -> None:
        """Keep a file with the job; a later one of the same name replaces it.

        Parameters
        ----------
        name
            How it is called: no path, at most 255 characters.
        content
            The bytes, or a file that is copied now.
        media_type
            What it is; guessed from the name where left out.

        Raises
        ------
        ValueError
            The name is none.
        OSError
            The file cannot be read.
        """
