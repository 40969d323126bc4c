"""A backend that does nothing, to measure what everything around it costs."""

from pydantic import BaseModel

from heliograph.backends import JobContext, backend


class Parameters(BaseModel):
    """Anything small."""

    number: int = 0


@backend(name="noop", version="0.1.0")
def noop(parameters: Parameters, _job: JobContext) -> dict[str, int]:
    """Return what was given."""
    return {"number": parameters.number}
