# ruff: noqa: T201 - what jobs print is the point
"""Backends that do not behave."""

import asyncio
import ctypes
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from heliograph.backends import Cancelled, JobContext, backend


class Nothing(BaseModel):
    pass


class Marker(BaseModel):
    """A file in which the backend says that it has begun, or who its descendants are."""

    file: Path
    then: str = "sleep"


class Choice(BaseModel):
    which: str


def say(file: Path, *pids: int) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(" ".join(map(str, pids)))
    draft.rename(file)  # so that nobody reads half of it


@backend(name="crash", version="1.0.0")
def crash(parameters: Choice, job: JobContext) -> None:
    match parameters.which:
        case "segfault":
            ctypes.string_at(0)
        case "os._exit":
            os._exit(3)
        case "sys.exit":
            sys.exit("enough")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            bytearray(4 * 1024**3)
        case "recursion":
            crash.function(parameters, job)
    raise AssertionError(parameters.which)


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@backend(name="broken-exception", version="1.0.0")
def broken_exception(parameters: Nothing, job: JobContext) -> None:
    raise BrokenError


@backend(name="surrogate-exception", version="1.0.0")
def surrogate_exception(parameters: Nothing, job: JobContext) -> None:
    raise ValueError("\ud800" + "long" * 100_000)


@backend(name="cancelled-by-nobody", version="1.0.0")
def cancelled_by_nobody(parameters: Nothing, job: JobContext) -> None:
    raise Cancelled


RESULTS: dict[str, Any] = {
    "nan": {"peaks": [1.0, math.nan]},
    "big integer": 2**63,
    "object": {"when": datetime},
    "key": {1: 2},
    "surrogate": "\udcff",
    "huge": "x" * 1_000_001,
    "many": [0] * 600_000,
}
deep: list[Any] = []
deep.append(deep)
RESULTS["endless"] = deep


@backend(name="result", version="1.0.0")
def result(parameters: Choice, job: JobContext) -> Any:
    return RESULTS[parameters.which]


@backend(name="flood", version="1.0.0")
def flood(parameters: Nothing, job: JobContext) -> None:
    print("the first line")
    while True:
        os.write(1, b"x" * 65_535 + b"\n")


@backend(name="much", version="1.0.0")
def much(parameters: Nothing, job: JobContext) -> None:
    for start in range(0, 100_000, 1_000):
        print("".join(f"line {number:100d}\n" for number in range(start, start + 1_000)), end="")


@backend(name="hang", version="1.0.0")
def hang(parameters: Marker, job: JobContext) -> str:
    """Run until told to stop, and then do as ``then`` says."""
    if parameters.then == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        say(parameters.file, os.getpid())
        while True:
            time.sleep(60)
    except Cancelled:
        job.log(f"stopping: {job.cancelled}")
        if parameters.then == "return":
            return "a late result"
        raise


@backend(name="hang-async", version="1.0.0")
async def hang_async(parameters: Marker, job: JobContext) -> None:
    say(parameters.file, os.getpid())
    try:
        await asyncio.sleep(3600)
    finally:
        job.log(f"stopping: {job.cancelled}")


@backend(name="family", version="1.0.0")
def family(parameters: Marker, job: JobContext) -> None:
    """Start a subprocess, one in a session of its own, and one that is nobody's child any more."""
    plain = subprocess.Popen(["/bin/sleep", "3600"])
    detached = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], start_new_session=True)
    shell = "setsid env -i /bin/sleep 3600 >/dev/null 2>&1 & echo $!"
    orphan = int(subprocess.run(["/bin/sh", "-c", shell], check=True, capture_output=True).stdout)
    say(parameters.file, os.getpid(), plain.pid, detached.pid, orphan)
    if parameters.then == "sleep":
        time.sleep(3600)
    if parameters.then == "crash":
        os._exit(1)


@backend(name="thread", version="1.0.0")
def thread(parameters: Nothing, job: JobContext) -> int:
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return os.getpid()


@backend(name="fork", version="1.0.0")
def fork(parameters: Nothing, job: JobContext) -> int:
    """Compute in forked processes, as scientific code does."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        total = sum(pool.map(abs, [-1, -2]))
        pool.close()
        pool.join()
    return total


@backend(name="copy", version="1.0.0")
def copy(parameters: Marker, job: JobContext) -> None:
    """Leave a copy of the process, with all it has open, in a session of its own."""
    runner = os.getpid()
    if not os.fork():
        os.setsid()
        say(parameters.file, runner, os.getpid())  # not before: until then it dies with the runner's group
    time.sleep(3600)


@backend(name="meddle", version="1.0.0")
def meddle(parameters: Nothing, job: JobContext) -> int:
    """Change what the next job in this process would find."""
    os.environ["MEDDLED"] = "yes"
    os.environ.pop("PATH", None)
    os.umask(0)
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 3600)
    return os.getpid()
