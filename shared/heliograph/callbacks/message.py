"""What an outside system says of a job: the keys that have a meaning, whoever reads them."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from heliograph.errors import FieldError, InvalidInputError

_DONE = frozenset({"done", "ready"})
_FAILED = frozenset({"failed"})


class Outcome(StrEnum):
    """What a message means for the job."""

    GOES_ON = "goes on"
    DONE = "done"
    FAILED = "failed"


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic turns this alone into an error of the field
    return value


# Numbers may come as text: in a query everything does.
Number = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]


class Message(BaseModel):
    """The keys of a message that are understood. Others are allowed, and kept with it.

    ``state`` (or ``action``) is ``done`` or ``ready``, ``failed``, or any other word for work that goes on.
    ``progress`` lies in 0..1, or in 0..``progress_max`` where that is given. A message of the end may carry a
    ``result`` (any JSON value) or a ``result_url`` where to get it; one of a failure a ``kind`` (``usage``,
    ``transient`` or another).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str = Field(default="progress", max_length=200, validation_alias=AliasChoices("state", "action"))
    progress: Annotated[Number, Field(ge=0)] | None = None
    progress_max: Annotated[Number, Field(gt=0)] = 1
    stage: str | None = None
    node: str | None = Field(default=None, validation_alias=AliasChoices("node", "node_id"))
    message: str | None = None
    eta_seconds: Annotated[Number, Field(ge=0)] | None = None
    result: Any = None
    result_url: str | None = None
    kind: str | None = None
    message_id: str | None = Field(default=None, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _within_its_range(self) -> Self:
        if self.progress is not None and self.progress > self.progress_max:
            raise ValueError(f"must be at most {self.progress_max:g}")
        return self

    @classmethod
    def of(cls, body: Any) -> "Message":
        """Read a message.

        Raises
        ------
        InvalidInputError
            It is no JSON object, or the value of a key is none that it takes; the error names the keys.
        """
        if not isinstance(body, dict):
            raise InvalidInputError.of("", "the body must be a JSON object")
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            raise InvalidInputError.of_all(
                [
                    FieldError(
                        str(fault["loc"][0]) if fault["loc"] else "progress",
                        fault["msg"].removeprefix("Value error, "),
                    )
                    for fault in faults
                ]
            ) from None

    @property
    def outcome(self) -> Outcome:
        """What it means for the job."""
        word = self.state.strip().lower()
        return Outcome.DONE if word in _DONE else Outcome.FAILED if word in _FAILED else Outcome.GOES_ON

    @property
    def fraction(self) -> float | None:
        """The part done, 0 to 1."""
        return None if self.progress is None else self.progress / self.progress_max
