"""The job as the services see it: frozen values, made from stored documents by ``documents``."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from heliograph.jobs.states import ErrorKind, State


class AfterCondition(StrEnum):
    """What has to become of the jobs that another one comes after."""

    DONE = "done"  # all have to be done; where one ends otherwise, this one is cancelled
    OVER = "over"  # however they end


class Once(StrEnum):
    """Whether a queue keeps each input once."""

    NO = "no"
    ACTIVE = "active"  # while a job of the same input is not over
    EVER = "ever"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state, as the history keeps it. ``seq`` rises by one with each change of a job."""

    id: str
    seq: int
    series: int
    at: datetime
    state: State
    by: str
    stage: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until ``until``; ``token`` fences every write of its holder.

    ``deadline`` is when an agent's time for the job is over, None where it has no limit or a worker holds it.
    """

    holder: str
    token: str
    until: datetime | None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or why its last attempt did."""

    kind: ErrorKind
    message: str
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a job made: its name, its id in the file store, media type, size in bytes and SHA-256 (hex)."""

    name: str
    file: str
    media_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """A request for work and what became of it.

    ``parameters`` and ``result`` are JSON values. Times are UTC. ``progress`` lies in 0..1. ``seq`` counts changes of
    state, ``series`` the runs from first queued to over, ``attempt`` the claims within a series. ``ancestors`` begins
    at the root of its tree and ends with its ``parent``. Of the jobs that it comes ``after``, it still ``waits_for``
    some. ``roles`` are those of its submitter, and so of what it submits itself; ``remembered`` is what its backend
    keeps. ``begun_before`` says, of a job that is held, that an earlier attempt of its series was begun. In
    ``parameters`` a mask stands for what is secret; ``secrets``, sealed, has a job that a worker claimed, and no other.
    """

    id: str
    queue: str
    owner: str
    state: State
    series: int
    seq: int
    attempt: int
    max_attempts: int
    priority: int
    parameters: Any
    created_at: datetime
    updated_at: datetime
    backend: str | None = None
    name: str | None = None
    group: str | None = None
    parent: str | None = None
    ancestors: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    remembered: dict[str, Any] = field(default_factory=dict)
    stage: str | None = None
    progress: float | None = None
    eta_seconds: float | None = None
    message: str | None = None
    result: Any = None
    error: JobError | None = None
    artifacts: tuple[Artifact, ...] = ()
    inputs: tuple[str, ...] = ()
    cancel_requested: bool = False
    begun_before: bool = False
    not_before: datetime | None = None
    start_before: datetime | None = None
    timeout_seconds: float | None = None
    handler: str | None = None
    notify: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None
    lease: Lease | None = None
    secrets: bytes | None = field(default=None, repr=False)
    history: tuple[Change, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored, judged and complete; the store adds its times, its first change and its event."""

    id: str
    queue: str
    owner: str
    parameters: Any  # a mask stands for what is secret
    secrets: bytes | None = field(default=None, repr=False)  # sealed for this id: see ``secret_parameters``
    backend: str | None = None
    name: str | None = None
    group: str | None = None
    parent: str | None = None
    ancestors: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    after_condition: AfterCondition = AfterCondition.DONE
    roles: tuple[str, ...] = ()
    priority: int = 0
    max_attempts: int = 3
    not_before: datetime | None = None
    start_before: datetime | None = None
    timeout_seconds: float | None = None
    handler: str | None = None
    inputs: tuple[str, ...] = ()
    notify: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None
    idempotency: tuple[str, str] | None = None  # the client's key, and the digest of what was asked for
    identity: str | None = None  # keyed hash of queue and canonical input: what counts as "the same request"
    once: Once = Once.NO
    once_key: str | None = None  # keyed hash of queue and canonical input, where the queue keeps each input once
    retention_seconds: float | None = None
