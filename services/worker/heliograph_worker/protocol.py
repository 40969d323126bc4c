"""What a worker and its child processes say to each other: JSON texts, each after its length in four bytes."""

import struct
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from heliograph.jobs.states import ErrorKind

HEADER = struct.Struct(">I")
MAX_FRAME = 16 * 1024 * 1024  # what a stored job may hold in all; a longer frame is no frame of ours


class ProtocolError(Exception):
    """The other side said something that is no message."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Message):
    """To the child: run this job. The write end of its log's pipe travels with it."""

    type: Literal["run"] = "run"
    source: str
    backend: str
    job: str
    attempt: int
    parameters: str  # as JSON
    inputs: dict[str, str]
    deadline: datetime | None
    folder: str
    remembered: str  # as JSON
    asks_first: bool  # whether an earlier attempt may still be at work in an outside system
    memory: int | None  # bytes that a process of the job may allocate, where that is less than the child's own limit
    has_secrets: bool = False  # then nothing that outlives the job may speak on the worker's standard error


class Answer(_Message):
    """To the child: what it asked for, or why not."""

    type: Literal["answer"] = "answer"
    content: str = "null"  # as JSON
    error: str | None = None
    kind: ErrorKind = ErrorKind.FATAL


class Ready(_Message):
    """From the child: it has started and waits for a job."""

    type: Literal["ready"] = "ready"


class Progress(_Message):
    """From the child: how far the job is."""

    type: Literal["progress"] = "progress"
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    stage: str | None = None
    eta_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    message: str | None = None


class ArtifactMade(_Message):
    """From the child: the job made a file; ``number`` is its name within the attempt's folder of artifacts."""

    type: Literal["artifact"] = "artifact"
    name: str
    number: int
    media_type: str


class Topic(StrEnum):
    """What a job may ask its worker."""

    REMEMBER = "remember"  # names and values to keep with the job
    SUBMIT = "submit"  # a child: its number among this job's, and the submission
    CHILDREN = "children"  # ids: their states, for a job that waits until all are over
    CHILD = "child"  # an id: how it is now, with its result
    CALLBACK_URL = "callback-url"
    STOP_REASON = "stop-reason"
    NEXT_CALLBACK = "next-callback"  # the number of the last one seen


class Question(_Message):
    """From the child: the job asks, and one of its threads waits for the answer. The next comes after that."""

    type: Literal["question"] = "question"
    topic: Topic
    content: str  # as JSON


class Returned(_Message):
    """From the child, at the end: the function returned; ``clean`` says that the process may be used again."""

    type: Literal["returned"] = "returned"
    result: str  # as JSON
    clean: bool


class Raised(_Message):
    """From the child, at the end: the function raised."""

    type: Literal["raised"] = "raised"
    kind: ErrorKind
    message: str
    traceback: str | None
    clean: bool


FromChild = Ready | Progress | ArtifactMade | Question | Returned | Raised
_from_child: TypeAdapter[FromChild] = TypeAdapter(Annotated[FromChild, Field(discriminator="type")])


def frame(message: Run | Answer | FromChild) -> bytes:
    """Return a message as it travels."""
    body = message.model_dump_json().encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body):,} bytes is too long")
    return HEADER.pack(len(body)) + body


def parse_from_child(body: bytes) -> FromChild:
    """Read what a child said.

    Raises
    ------
    ProtocolError
        It is no message.
    """
    try:
        return _from_child.validate_json(body)
    except ValidationError as error:
        # Without the input, of which a part would be quoted: masked is what is whole.
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ProtocolError(f"the backend's process sent no message: {place}: {fault['msg']}") from None


def parse_run(body: bytes) -> Run:
    """Read what the worker said between two jobs."""
    return Run.model_validate_json(body)


def parse_answer(body: bytes) -> Answer:
    """Read what the worker said to a job that asked."""
    return Answer.model_validate_json(body)


def receive_exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    """Collect ``size`` bytes from a blocking ``receive``; ``EOFError`` where the other side has gone."""
    parts = []
    while size:
        part = receive(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
