"""Backends that do nothing, or sleep, to measure what everything around them costs."""

import time

from pydantic import BaseModel

from heliograph.backends import JobContext, backend


class Parameters(BaseModel):
    """Anything small."""

    number: int = 0


@backend(name="noop", version="0.1.0")
def noop(parameters: Parameters, _job: JobContext) -> dict[str, int]:
    """Return what was given."""
    return {"number": parameters.number}


@backend(name="sleep1", version="0.1.0")
def sleep1(parameters: Parameters, _job: JobContext) -> dict[str, int]:
    """Sleep for a second, and return what was given."""
    time.sleep(1.0)
    return {"number": parameters.number}
