"""A backend that leaves traces, for tests in which its worker dies; child processes import it."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from heliograph.backends import Finished, Gone, JobContext, Limits, Retry, TransientError, backend

RETRY_AFTER = timedelta(minutes=10)  # later than any test looks

_PARENT = """
import subprocess, sys, time
from pathlib import Path

grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
draft = Path(sys.argv[1] + ".draft")
draft.write_text(str(grandchild.pid))
draft.rename(sys.argv[1])  # so that nobody reads half of it
time.sleep(3600)
"""


class Drill(BaseModel):
    """What to do."""

    runs: Path = Field(description="A file that gets a line when the code begins, and one when it returns")
    gate: Path | None = Field(default=None, description="It goes on once this file exists")
    family: Path | None = Field(default=None, description="Where to name the processes that it starts")
    fails: int = Field(default=0, description="How many attempts fail, with an error that passes")
    leaves: str | None = Field(default=None, description="The name of an artifact that it makes at its end")
    mark: str | None = Field(default=None, description="What makes this request another than the last one")


@backend(
    name="drill",
    version="1.0.0",
    timeout=timedelta(minutes=10),
    retry=Retry(first=RETRY_AFTER, factor=1, most=RETRY_AFTER, jitter=0),
)
def drill(parameters: Drill, job: JobContext) -> dict[str, int]:
    """Say that it runs, wait until told to go on, and say that it returns."""
    _say(parameters.runs, job, "begun")
    if parameters.family:
        _start_family(parameters.family)
    while parameters.gate and not parameters.gate.exists():
        time.sleep(0.01)
    if parameters.leaves:
        job.artifact(parameters.leaves, b"as asked", media_type="text/plain")
    _say(parameters.runs, job, "returned")
    if job.attempt <= parameters.fails:
        raise TransientError("as asked")
    return {"attempt": job.attempt}


def _ask(parameters: Drill, job: JobContext) -> Finished | Gone:
    """Say what an outside system knows: that it is done, where a drill was begun there."""
    return Finished({"outside": job.remembered["number"]}) if job.remembered else Gone()


@backend(name="outside", version="1.0.0", reconcile=_ask)
def outside(parameters: Drill, job: JobContext) -> dict[str, int]:
    """Begin something outside, and wait for ever."""
    job.remember(number=17)
    _say(parameters.runs, job, "begun")
    time.sleep(3600)
    return {}


narrow = replace(drill, name="narrow", limits=Limits(total=3, per_owner=3))


def _say(runs: Path, job: JobContext, word: str) -> None:
    with runs.open("a") as file:
        file.write(f"{job.id} {job.attempt} {word}\n")


def _start_family(file: Path) -> None:
    """Start a child, which starts a child of its own that has left its group and session."""
    grandchild = file.with_suffix(".grandchild")
    child = subprocess.Popen([sys.executable, "-c", _PARENT, str(grandchild)])
    while not grandchild.exists():
        time.sleep(0.01)
    draft = file.with_suffix(".draft")
    draft.write_text(f"{os.getpid()} {child.pid} {grandchild.read_text()}")
    draft.rename(file)
