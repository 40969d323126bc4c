"""Errors: application/problem+json (RFC 9457)."""

from pydantic import BaseModel, ConfigDict, Field


class ProblemField(BaseModel):
    """One field at fault."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="A dotted path, such as parameters.period")
    message: str


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="A stable name of this kind of problem")
    title: str
    status: int
    detail: str
    errors: list[ProblemField] | None = None
