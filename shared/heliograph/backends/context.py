"""The job as its backend sees it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from heliograph.jobs.model import JobError
from heliograph.jobs.states import OVER, State


@dataclass(frozen=True, slots=True)
class ChildJob:
    """A job that this one submitted, as it was when asked for: ``result`` where it is done, ``error`` where not."""

    id: str
    state: State
    result: Any = None
    error: JobError | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in OVER


@dataclass(frozen=True, slots=True)
class Callback:
    """What an outside system said to the job's callback address: its body (a JSON object), and when (UTC)."""

    body: Mapping[str, Any]
    at: datetime


class JobContext(Protocol):
    """What a backend may know of its job, and how it tells of its work. Any thread may call it."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""

    @property
    def deadline(self) -> datetime | None:
        """When the time limit ends it (UTC), if it has one."""

    @property
    def scratch(self) -> Path:
        """A folder of its own, empty at the start, removed afterwards; also the current folder."""

    @property
    def cancelled(self) -> bool:
        """Whether the job is to stop. A loop that cannot bear ``Cancelled`` in its midst asks here."""

    @property
    def stop_reason(self) -> str | None:
        """Why it is to stop: ``cancelled``, ``timeout``, or ``shutdown`` (its worker closes: it is begun again later).

        None while it is not to stop. Who has begun something outside ends that where the job is cancelled, and leaves
        it alone where the job comes back.
        """

    @property
    def remembered(self) -> Mapping[str, Any]:
        """What this job, in this or an earlier attempt of the series, asked to be remembered."""

    def progress(
        self,
        fraction: float | None = None,
        *,
        stage: str | None = None,
        eta: timedelta | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is; what is left out stays as it was.

        Parameters
        ----------
        fraction
            The part done, 0 to 1. Anything else is ignored, with a line in the job's log.
        stage
            What it is doing, in a word or two.
        eta
            How long it will still take.
        message
            A sentence for the person who waits.
        """

    def log(self, text: str) -> None:
        """Add a line to the job's log. What it prints, and what its subprocesses print, goes there as well."""

    def artifact(self, name: str, content: bytes | Path | BinaryIO, *, media_type: str | None = None) -> None:
        """Keep a file with the job; a later one of the same name replaces it.

        Parameters
        ----------
        name
            How it is called: no path, at most 255 characters.
        content
            The bytes, or a file that is copied now, or a binary stream that is read to its end now.
        media_type
            What it is; guessed from the name where left out.

        Raises
        ------
        ValueError
            The name is none.
        OSError
            The file cannot be read.
        """

    def remember(self, **values: Any) -> None:
        """Keep JSON values with the job until it is over; a later value of the same name replaces an earlier one.

        They are stored when this returns, and a later attempt finds them in ``remembered``: the number that an outside
        system gave the work, or how far a long calculation had come. At most 64 KB in all.

        Raises
        ------
        ValueError
            They are no JSON values, or too large.
        """

    def submit(self, backend: str, parameters: Mapping[str, Any], **fields: Any) -> str:
        """Submit a job under this one, for the same owner, and return its id; it is stored when this returns.

        The same child of a later attempt is the same job: the n-th submission of the same content returns the id that
        the earlier attempt got for it, in whatever order they come.

        Parameters
        ----------
        backend
            What does it.
        parameters
            As that backend's schema asks.
        fields
            Further fields of a submission, such as ``name``, ``after`` or ``timeout_seconds``. Its group is this job's
            unless they say otherwise, and nobody is told of it unless they say ``notify=True``.

        Raises
        ------
        UsageError
            The submission is refused; the message names the field.
        """

    def wait(self, jobs: Iterable[str], *, timeout: timedelta | None = None) -> list[ChildJob]:
        """Wait until these jobs of ours are over, and return them in their order; after ``timeout`` as they are then.

        Meanwhile this job lends its slot, so that its children can run on the same worker. An asynchronous backend
        waits in a thread: ``await asyncio.to_thread(job.wait, ids)``.

        Raises
        ------
        ValueError
            One of them is none of this job's children.
        """

    @property
    def callback_url(self) -> str:
        """An address at which an outside system may tell of this attempt, without any other credentials.

        It takes ``POST`` with a JSON object, or ``GET`` with a query; is signed for this attempt alone; and expires
        with it. What it took is read with ``next_callback``.

        Raises
        ------
        FatalError
            The operator gave this worker no key to sign with.
        """

    def next_callback(self, timeout: timedelta | None = None) -> Callback | None:
        """Wait for the next thing told at ``callback_url``, in the order of its coming; None after ``timeout``."""
