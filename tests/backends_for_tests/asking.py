"""Backends that ask their worker for something; child processes import them."""

import asyncio
import json
import os
import socket
import struct
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from heliograph.backends import (
    Finished,
    Gone,
    JobContext,
    Limits,
    Retry,
    Standing,
    StillRunning,
    TransientError,
    backend,
)

AT_ONCE = Retry(first=timedelta(0), jitter=0)
_MEGABYTES = 1024 * 1024


class Nothing(BaseModel):
    """No parameters."""


class Number(BaseModel):
    """A number, and what to do with it."""

    number: int = 0
    folder: Path | None = None


@backend(name="square", version="1")
def square(parameters: Number, job: JobContext) -> int:
    """Return its square."""
    if parameters.number < 0:
        raise ValueError("negative")
    return parameters.number**2


@backend(name="squares", version="1")
def squares(parameters: Number, job: JobContext) -> list[int]:
    """Let children do the work, and wait for them."""
    children = [job.submit("square", {"number": number}, name=f"part {number}") for number in range(parameters.number)]
    return [child.result for child in job.wait(children)]


@backend(name="squares-async", version="1")
async def squares_async(parameters: Number, job: JobContext) -> list[Any]:
    """Do so without blocking, and tell of those that fail."""
    children = [job.submit("square", {"number": number}) for number in (2, -1)]
    over = await asyncio.to_thread(job.wait, children, timeout=timedelta(seconds=30))
    return [child.error.message if child.error else child.result for child in over]


@backend(name="nested", version="1")
def nested(parameters: Number, job: JobContext) -> int:
    """Wait for a child that waits for a child, and so on."""
    if parameters.number == 0:
        return 0
    (child,) = job.wait([job.submit("nested", {"number": parameters.number - 1})])
    return int(child.result) + 1


@backend(name="fat", version="1")
def fat(parameters: Number, job: JobContext) -> str:
    """Return almost as much as a result may hold."""
    return str(parameters.number) + "x" * 900_000


@backend(name="fat-parent", version="1")
def fat_parent(parameters: Number, job: JobContext) -> int:
    """Wait for more results than one message holds."""
    children = [job.submit("fat", {"number": number}) for number in range(parameters.number)]
    return sum(len(child.result) for child in job.wait(children))


@backend(name="shuffled", version="1", retry=AT_ONCE)
def shuffled(parameters: Nothing, job: JobContext) -> list[str]:
    """Submit the same children in another order at each attempt."""
    numbers = [1, 2, 2] if job.attempt == 1 else [2, 1, 2]
    children = [job.submit("square", {"number": number}) for number in numbers]
    if job.attempt == 1:
        raise TransientError("once")
    return sorted(children)


@backend(name="forge", version="1")
def forge(parameters: Number, job: JobContext) -> None:
    """Write an end of its own to the worker, as pickled code could."""
    forged = ("[", "[" * 100_000 + "]" * 100_000, '"\\ud800"', "1" * 29, "NaN")[parameters.number]
    body = json.dumps({"type": "returned", "result": forged, "clean": False}).encode()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if entry.readlink().name.startswith("socket:"):
                connection = socket.socket(fileno=os.dup(int(entry.name)))
                if connection.family is socket.AF_UNIX:
                    connection.sendall(struct.pack(">I", len(body)) + body)
    time.sleep(60)


@backend(name="wrong", version="1")
def wrong(parameters: Nothing, job: JobContext) -> list[str]:
    """Ask for what cannot be."""
    faults = []
    for ask in (
        lambda: job.submit("no-such", {}),
        lambda: job.submit("square", {"number": "many"}),
        lambda: job.submit("square", {}, priority=5),
        lambda: job.wait(["01ARZ3NDEKTSV4RRFFQ69G5FAV"]),
        lambda: job.remember(number=float("nan")),
        lambda: job.remember(text="x" * 70_000),
        lambda: job.remember(thing=object()),
    ):
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test asks for
            faults.append(f"{type(error).__name__}: {error}")
    return faults


@backend(name="again", version="1", retry=AT_ONCE)
def again(parameters: Nothing, job: JobContext) -> dict[str, Any]:
    """Fail once after it has submitted a child and remembered something; find both again."""
    child = job.submit("square", {"number": 3})
    before = dict(job.remembered)
    job.remember(attempt=job.attempt, child=child)
    if job.attempt == 1:
        raise TransientError("once")
    return {"before": before, "child": child, "now": dict(job.remembered)}


class Outside(BaseModel):
    """A file stands for an outside system: it says what that knows."""

    file: Path
    begun: Path


@backend(name="outside", version="1", retry=AT_ONCE)
class Telescope:
    """Begins something in an outside system, and loses sight of it."""

    def run(self, parameters: Outside, job: JobContext) -> str:
        with parameters.begun.open("a") as file:
            file.write("begun\n")
        job.remember(number=17)
        if job.attempt == 1:
            raise TransientError("out of sight")
        return "from its own run"

    def reconcile(self, parameters: Outside, job: JobContext) -> Standing:
        with parameters.begun.open("a") as file:
            file.write(f"asked about {job.remembered.get('number')}\n")
        match parameters.file.read_text():
            case "running":
                parameters.file.write_text("done")
                return StillRunning(timedelta(milliseconds=10))
            case "done":
                return Finished("from outside")
            case _:
                return Gone()


@backend(name="eat", version="1", memory=256 * _MEGABYTES)
def eat(parameters: Number, job: JobContext) -> int:
    """Take so many megabytes."""
    return len(bytearray(parameters.number * _MEGABYTES))


@backend(name="one-here", version="1", limits=Limits(per_worker=1))
def one_here(parameters: Number, job: JobContext) -> int:
    """Count those that run at the same time, in a folder."""
    assert parameters.folder
    mark = parameters.folder / job.id
    mark.touch()
    time.sleep(0.05)
    found = len(list(parameters.folder.iterdir()))
    mark.unlink()
    return found


@backend(name="hold", version="1")
def hold(parameters: Number, job: JobContext) -> str:
    """Go on once a folder is there."""
    assert parameters.folder
    while not parameters.folder.exists():
        time.sleep(0.01)
    return "held"


@backend(name="listen", version="1")
def listen(parameters: Number, job: JobContext) -> list[Any]:
    """Tell where it may be called, and return what was told there, until the end."""
    job.progress(message=job.callback_url)
    heard = []
    while callback := job.next_callback(timedelta(seconds=20)):
        heard.append(callback.body.get("progress") or callback.body.get("result"))
        if callback.body.get("state") == "done":
            break
    nothing = job.next_callback(timedelta(milliseconds=50))
    return [*heard, nothing]


SOURCES = [
    f"{__name__}:{name}"
    for name in (
        "square", "squares", "squares_async", "nested", "fat", "fat_parent", "shuffled", "forge", "wrong", "again",
        "Telescope", "eat", "one_here", "hold", "listen",
    )
]  # fmt: skip
