"""What came of a backend's run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.backends.telling import Progress
from heliograph.jobs.model import JobError
from heliograph.testing.children import Submitted


class UnexpectedOutcomeError(AssertionError):
    """A result was asked for of a run that failed, or a failure of one that went well; the message says what it was."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the backend kept with its job."""

    name: str
    content: bytes = field(repr=False)
    media_type: str

    @property
    def text(self) -> str:
        """Its content as text in UTF-8."""
        return self.content.decode()


@dataclass(frozen=True, slots=True)
class Run:
    """All that came of a run.

    ``error`` is what a worker would record, None where the run went well. ``log`` holds all that was printed, by
    ``job.log`` and by subprocesses too. ``progress`` holds every report in order, where a worker passes on the latest
    once a second. ``submitted`` are the jobs that it submitted itself, ``remembered`` what a later attempt would find.
    """

    error: JobError | None
    log: str
    progress: tuple[Progress, ...]
    artifacts: Mapping[str, Artifact]
    submitted: tuple[Submitted, ...]
    remembered: Mapping[str, Any]
    returned: Any = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.error is None

    @property
    def result(self) -> Any:
        """What the backend returned, as JSON has it: a model is a dictionary, a tuple a list.

        Raises
        ------
        UnexpectedOutcomeError
            The run failed.
        """
        if self.error is None:
            return self.returned
        words = f"{self.error.kind}: {self.error.message}"
        raise UnexpectedOutcomeError("\n".join(filter(None, (words, self.error.traceback))))

    @property
    def failure(self) -> JobError:
        """The error of a run that is to fail.

        Raises
        ------
        UnexpectedOutcomeError
            It went well.
        """
        if self.error is None:
            raise UnexpectedOutcomeError(f"it went well, with the result {self.returned!r}")
        return self.error
