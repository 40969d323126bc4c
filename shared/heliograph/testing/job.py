"""A job that no service knows of."""

import json
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from heliograph.backends.artifacts import check_name, media_type_of, shown_media_type
from heliograph.backends.context import Callback, ChildJob
from heliograph.backends.errors import UsageError
from heliograph.backends.telling import Progress, progress_of, remembered_json, shortened
from heliograph.masking import Mask
from heliograph.testing.children import Submitted, outcome_of, submission_of
from heliograph.testing.outcome import Artifact

_JOB = "01JD8Q0Z000000000000000000"


class FakeJob:
    """A ``JobContext`` that keeps what it is told, for a test that calls a backend's function itself.

    What was told is in ``lines`` (of ``log`` alone), ``reports``, ``artifacts``, ``submitted`` and ``remembered``.

    Parameters
    ----------
    scratch
        The job's folder; where left out, a temporary one, which goes with this object.
    id, attempt, deadline
        As the backend is to see them.
    remembered
        What an earlier attempt asked to be remembered.
    children
        What becomes of the jobs that the backend submits, by their backend: a result; an exception, by which the child
        fails (``Cancelled()``: was cancelled); a function of its parameters that returns or raises these; a state such
        as ``State.RUNNING``, which never ends; or a ``Backend``, which is then run. A child has ended, and a backend
        has been run, when ``submit`` returns. Other backends do not exist.
    callbacks
        What outside systems tell at the callback address, in this order: JSON objects.
    catch
        Whether a defect of a backend among ``children`` makes that child fail, rather than come out of ``submit``.
    """

    def __init__(
        self,
        scratch: Path | None = None,
        *,
        id: str = _JOB,  # noqa: A002 - as the context's property is called
        attempt: int = 1,
        deadline: datetime | None = None,
        remembered: Mapping[str, Any] | None = None,
        children: Mapping[str, Any] | None = None,
        callbacks: Iterable[Mapping[str, Any]] = (),
        catch: bool = False,
    ) -> None:
        self.id = id
        self.attempt = attempt
        self.deadline = deadline
        self.lines: list[str] = []
        self.reports: list[Progress] = []
        self.artifacts: dict[str, Artifact] = {}
        self.submitted: list[Submitted] = []
        self._scratch = scratch
        self._remembered: dict[str, Any] = json.loads(remembered_json(remembered or {}))
        self._planned = dict(children or {})
        self._children: dict[str, ChildJob] = {}
        self._callbacks: Iterator[Any] = iter([json.loads(json.dumps(dict(body))) for body in callbacks])
        self._catch = catch
        self._mask: Mask | None = None  # of secret parameters, which ``run`` knows
        self._cancelled = False
        self._lock = threading.Lock()

    @property
    def scratch(self) -> Path:
        """A folder of its own."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="heliograph-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled

    @property
    def stop_reason(self) -> str | None:
        """``cancelled`` once ``cancel`` was called."""
        return "cancelled" if self.cancelled else None

    def cancel(self) -> None:
        """Wish the job to stop, as a person does. Under ``run`` the backend is interrupted as well."""
        self._cancelled = True

    @property
    def remembered(self) -> Mapping[str, Any]:
        """What was given, and what ``remember`` added to it."""
        return MappingProxyType(self._remembered)

    def progress(
        self,
        fraction: float | None = None,
        *,
        stage: str | None = None,
        eta: timedelta | None = None,
        message: str | None = None,
    ) -> None:
        """Keep a report."""
        report, ignored = progress_of(fraction, stage, eta, message)
        for line in ignored:
            self.log(line)
        if report:
            texts = (text and self._mask.text(text) if self._mask else text for text in (report.stage, report.message))
            stage, message = shortened(*texts)
            self.report(replace(report, stage=stage, message=message))

    def report(self, report: Progress) -> None:
        """Take a report of progress."""
        self.reports.append(report)

    def log(self, text: str) -> None:
        """Keep a line, and print it."""
        self.lines.append(text)
        print(text, flush=True)  # noqa: T201 - standard output is the job's log

    def artifact(self, name: str, content: bytes | Path | BinaryIO, *, media_type: str | None = None) -> None:
        """Keep a file's content."""
        check_name(name)
        if isinstance(content, bytes | bytearray | memoryview):
            data = bytes(content)
        elif hasattr(content, "read"):
            data = content.read()
        else:
            data = Path(content).read_bytes()
        if not isinstance(data, bytes):
            raise TypeError(f"{name}: is read from a binary stream, not from one of text")
        self.artifacts[name] = Artifact(name, data, shown_media_type(media_type or media_type_of(name), self._mask))

    def remember(self, **values: Any) -> None:
        """Keep JSON values."""
        with self._lock:
            self._remembered = json.loads(remembered_json(self._remembered | values))

    def submit(self, backend: str, parameters: Mapping[str, Any], **fields: Any) -> str:
        """Submit a child, whose end is as planned in ``children``."""
        with self._lock:
            numbered = (submission_of(self.id, number, backend, parameters, fields) for number in count())
            child = next(each for each in numbered if each not in self.submitted)
            if backend not in self._planned:
                known = ", ".join(sorted(self._planned)) or "none"
                raise UsageError(f"backend: there is no backend {backend} (in this test's children: {known})")
            self.submitted.append(child)
        self._children[child.id] = outcome_of(child, self._planned[backend], catch=self._catch)
        return child.id

    def wait(self, jobs: Iterable[str], *, timeout: timedelta | None = None) -> list[ChildJob]:
        """Return these children; nothing here takes time.

        Raises
        ------
        RuntimeError
            One of them is planned never to end, and there is no timeout.
        """
        asked = list(jobs)
        if strange := [job for job in asked if job not in self._children]:
            raise ValueError(f"{strange[0]} is none of this job's children")
        found = [self._children[job] for job in asked]
        if timeout is None and not all(child.is_over for child in found):
            raise RuntimeError("a child of this test never ends, and no timeout is given: this would wait for ever")
        return found

    @property
    def callback_url(self) -> str:
        """An address that leads nowhere."""
        return f"https://heliograph.invalid/callbacks/{self.id}/{self.attempt}"

    def next_callback(self, timeout: timedelta | None = None) -> Callback | None:
        """Return the next of ``callbacks``, or None after the last; nothing here takes time.

        Raises
        ------
        RuntimeError
            There is none any more, and no timeout.
        """
        body = next(self._callbacks, None)
        if body is not None:
            return Callback(body, datetime.now(UTC))
        if timeout is None:
            raise RuntimeError("this test has no further callback, and no timeout is given: this would wait for ever")
        return None
