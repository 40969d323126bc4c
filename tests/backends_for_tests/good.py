# ruff: noqa: T201 - what jobs print is the point
"""Backends that behave."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr

from heliograph.backends import InputFile, JobContext, Retry, TransientError, UsageError, backend


class Nothing(BaseModel):
    pass


class Sum(BaseModel):
    left: int = Field(gt=0)
    right: int = 1


class Total(BaseModel):
    total: int


@backend(
    name="sum", version="1.2.0", title="A sum", timeout=timedelta(minutes=5), retry=Retry(factor=3), roles=("user",)
)
def add(parameters: Sum, job: JobContext) -> Total:
    """Add two numbers."""
    return Total(total=parameters.left + parameters.right)


@backend(name="async-sum", version="1.0.0")
async def add_slowly(parameters: Sum, job: JobContext) -> dict[str, int]:
    await asyncio.sleep(0)
    return {"total": parameters.left + parameters.right}


@backend(name="where", version="1.0.0")
def where(parameters: Nothing, job: JobContext) -> dict[str, Any]:
    assert job.deadline
    return {
        "id": job.id,
        "attempt": job.attempt,
        "deadline": job.deadline.isoformat(),
        "scratch": str(job.scratch),
        "folder": str(Path.cwd()),
        "content": [path.name for path in job.scratch.iterdir()],
        "temporary": tempfile.gettempdir(),
        "pid": os.getpid(),
        "environment": sorted(os.environ),
        "modules": sorted(sys.modules),
    }


@backend(name="talk", version="1.0.0")
def talk(parameters: Nothing, job: JobContext) -> None:
    print("to standard output")
    print("to standard error", file=sys.stderr)
    job.log("to the log")
    subprocess.run(["/bin/sh", "-c", "echo from a subprocess"], check=True)
    ctypes.CDLL(None).puts(b"from C")
    print("without a line's end", end="")


class Steps(BaseModel):
    folder: Path


@backend(name="progress", version="1.0.0")
def steps(parameters: Steps, job: JobContext) -> None:
    job.progress(0.25, stage="reading", eta=timedelta(minutes=2), message="Reading the table")
    print("begun")
    _wait_for(parameters.folder / "seen")
    for wrong in (float("nan"), 7, -1, "half"):
        job.progress(wrong)  # type: ignore[arg-type] # what authors get wrong
    job.progress(stage="fitting \ud800")


@backend(name="chatter", version="1.0.0")
def chatter(parameters: Nothing, job: JobContext) -> None:
    for step in range(20_000):
        job.progress(step / 20_000)


@backend(name="files", version="1.0.0")
def files(parameters: Nothing, job: JobContext) -> None:
    job.artifact("table.csv", b"1,2\n")
    Path("plot.png").write_bytes(b"PNG")
    job.artifact("plot.png", Path("plot.png"))
    Path("plot.png").write_bytes(b"written over")
    job.artifact("notes", b"...", media_type="text/x-notes")


@backend(name="bad-file-name", version="1.0.0")
def bad_file_name(parameters: Nothing, job: JobContext) -> None:
    job.artifact("../escape", b"")


class Input(BaseModel):
    table: InputFile
    more: list[InputFile | None] = []


@backend(name="read", version="1.0.0")
def read(parameters: Input, job: JobContext) -> list[str | None]:
    return [path.read_text() if path else None for path in (parameters.table, *parameters.more)]


class Secret(BaseModel):
    password: SecretStr = Field(min_length=20)


@backend(name="secret", version="1.0.0")
def secret(parameters: Secret, job: JobContext) -> None:
    """Never runs with a short password."""


class Complaint(BaseModel):
    kind: str


@backend(name="complain", version="1.0.0")
def complain(parameters: Complaint, job: JobContext) -> None:
    if parameters.kind == "usage":
        raise UsageError("there is no star of that name")
    if parameters.kind == "transient":
        raise TransientError("the archive is away")
    raise RuntimeError("what nobody expected")


@backend(name="surroundings", version="1.0.0")
def surroundings(parameters: Nothing, job: JobContext) -> dict[str, Any]:
    """Tell in what surroundings a job runs, but for the folders that are its own."""
    mask = os.umask(0)
    os.umask(mask)
    known = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE)
    return {
        "pid": os.getpid(),
        "environment": {name: value for name, value in os.environ.items() if name != "TMPDIR"},
        "libc": subprocess.run(["/usr/bin/env"], check=True, capture_output=True, text=True).stdout.count("MEDDLED"),
        "umask": mask,
        "handlers": {number.name: repr(signal.getsignal(number)) for number in known},
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    }


@backend(name="surroundings-pid", version="1.0.0")
def surroundings_pid(parameters: Nothing, job: JobContext) -> int:
    return os.getpid()


def _wait_for(path: Path) -> None:
    import time

    while not path.exists():
        time.sleep(0.005)
