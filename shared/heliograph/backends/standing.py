"""What an outside system says of work that an earlier attempt of a job began there."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

ASK_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class StillRunning:
    """It goes on out there: ask again after a while. Until then the job runs on, and nothing is begun anew."""

    ask_again: timedelta = ASK_AGAIN


@dataclass(frozen=True, slots=True)
class Finished:
    """It is done: the job ends with this result (a JSON value or a model), as if its function had returned it."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The outside system knows nothing of it: the job's function is called again."""


Standing = StillRunning | Finished | Gone
