"""``[shell]``: runs a command line that the caller writes. Whoever may use it does anything that its user may."""

from pydantic import BaseModel, ConfigDict, Field

from heliograph.backends import Backend, FatalError, JobContext
from heliograph_worker.backends.program import run_program
from heliograph_worker.backends.table import EntrustedTable

_LONGEST_COMMAND = 100_000  # characters; Linux takes 128 KiB in one argument


class ShellTable(EntrustedTable):
    """What the operator says of it."""


class Parameters(BaseModel):
    """A command line that the worker's shell runs: whatever the caller wrote, run as a user of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    command: str = Field(
        min_length=1,
        max_length=_LONGEST_COMMAND,
        pattern=r"^[^\x00]+$",
        description="What /bin/sh runs, in an empty folder of the job's own",
    )


def make(name: str, table: ShellTable) -> Backend:
    """Make the backend."""
    about = f"Runs a command line of the caller's with /bin/sh, as the user {table.user} of the worker."
    return table.backend(name, Parameters, _run, about=about)


def _run(parameters: Parameters, job: JobContext) -> object:
    ended = run_program(["/bin/sh", "-c", parameters.command], job.scratch, called="the command")
    if ended.code:
        raise FatalError(ended.told())
    return {"exit_code": 0}
