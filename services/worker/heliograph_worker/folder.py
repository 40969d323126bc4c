"""Where an attempt finds its places; known to the worker and to the child process."""

from dataclasses import dataclass
from pathlib import Path


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

    def make(self) -> None:
        """Make the places."""
        for place in (self.work, self.artifacts, self.temporary):
            place.mkdir()
