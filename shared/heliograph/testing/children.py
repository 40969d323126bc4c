"""The jobs that a backend under test submits, and what becomes of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import ValidationError
from ulid import ULID

from heliograph.backends.backend import Backend
from heliograph.backends.context import ChildJob
from heliograph.backends.errors import BackendError, FatalError, UsageError
from heliograph.backends.failures import describe, shortened
from heliograph.backends.result import as_json
from heliograph.jobs.model import JobError
from heliograph.jobs.states import OVER, ErrorKind, State
from heliograph.wire import Submission
from heliograph.wire.faults import words_of


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the backend submitted; ``fields`` are the others of its submission."""

    id: str
    backend: str
    parameters: dict[str, Any]
    fields: dict[str, Any]


def submission_of(parent: str, number: int, backend: str, parameters: Mapping[str, Any], fields: Any) -> Submitted:
    """Judge a submission's form as the api does, and give it an id: the same one for the same child of a parent.

    Raises
    ------
    UsageError
        It is refused; the message names the field.
    """
    try:
        body = json.loads(as_json({"backend": backend, "parameters": dict(parameters), **fields}))
        Submission.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        words = (f"{'.'.join(map(str, fault['loc']))}: {words_of(Submission, fault)}" for fault in faults)
        raise UsageError("; ".join(words)) from error
    except FatalError as error:
        raise UsageError(str(error).replace("result", "submission", 1)) from None
    content = json.dumps([parent, number, body], sort_keys=True)
    identifier = str(ULID(sha256(content.encode()).digest()[:16]))
    rest = {name: value for name, value in body.items() if name not in {"backend", "parameters"}}
    return Submitted(identifier, backend, body["parameters"], rest)


def outcome_of(job: Submitted, planned: Any, *, catch: bool) -> ChildJob:
    """Return what becomes of a child, by what the test plans for its backend; see ``FakeJob``."""
    from heliograph.testing.running import run  # noqa: PLC0415 - a job runs jobs: the circle is closed here

    if isinstance(planned, Backend):
        done = run(planned, job.parameters, catch=catch, echo=False)
        return _ended(job.id, done.returned, done.error)
    if isinstance(planned, State) and planned not in OVER:
        return ChildJob(job.id, planned)
    try:
        result = planned(job.parameters) if callable(planned) else planned
    except BackendError as error:
        result = error
    if isinstance(result, BaseException):
        return _ended(job.id, None, shortened(JobError(*describe(result, stop_asked=True))))
    return _ended(job.id, json.loads(as_json(result)), None)


def _ended(identifier: str, result: Any, error: JobError | None) -> ChildJob:
    if error is None:
        return ChildJob(identifier, State.DONE, result=result)
    state = State.CANCELLED if error.kind is ErrorKind.CANCELLED else State.FAILED
    return ChildJob(identifier, state, error=error)
