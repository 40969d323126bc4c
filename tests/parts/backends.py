"""Backends that a test makes of a function, in the process of the test."""

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from heliograph.backends import (
    Finished,
    Gone,
    JobContext,
    StillRunning,
    backend,
)


class Nothing(BaseModel):
    pass


class Text(BaseModel):
    text: str = ""


def made(function: Callable[..., Any], **about: Any) -> Any:
    """Make a backend of a function of the job alone."""
    if inspect.iscoroutinefunction(function):

        async def call(parameters: Nothing, job: JobContext) -> Any:
            return await function(job)
    else:

        def call(parameters: Nothing, job: JobContext) -> Any:  # type: ignore[misc] # the other half of the choice
            return function(job)

    return backend(name="made", version="1.0.0", **about)(call)


@backend(name="cluster", version="1.0.0")
class Cluster:
    """Has what an outside system said."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, parameters: Text, job: JobContext) -> int:
        self.runs += 1
        return self.runs

    async def reconcile(self, parameters: Text, job: JobContext) -> Any:
        standings = {"goes on": StillRunning(), "done": Finished((1, 2)), "gone": Gone(), "nan": Finished(float("nan"))}
        return standings.get(job.remembered["state"], parameters.text)
