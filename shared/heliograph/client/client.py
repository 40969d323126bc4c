"""A small Python client of the native api."""

import time
from codecs import iterdecode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from heliograph.client.asking import PAUSE_SECONDS, TIMEOUT_SECONDS, ProblemError, raise_problem
from heliograph.client.functions import dotted_name, pickled
from heliograph.client.notifications import Notifications
from heliograph.client.revealed import NotSecretError, revealed
from heliograph.ids import new_id
from heliograph.jobs.states import State
from heliograph.wire import (
    BackendView,
    BeatView,
    ClaimPage,
    ClaimView,
    IssuedToken,
    JobView,
    QueueView,
    TokenView,
    UploadView,
)
from heliograph.wire.dead import DeadView, ReplayView
from heliograph.wire.groups import MOST_IN_BATCH, BatchItem, BatchPage, GroupView, TreeView

__all__ = ["Client", "NotSecretError", "ProblemError"]

LONGEST_SILENCE_SECONDS = 60.0  # of a log that is followed: who hears nothing asks again
LONGEST_WAIT_SECONDS = 30.0  # one long poll; the api takes up to 60, proxies often less


class Client(Notifications):
    """Talks to one api on behalf of one token.

    A submission is repeated under one Idempotency-Key while the service is away, so it is stored once.
    """

    def submit(self, backend: str, parameters: Mapping[str, Any], *, key: str | None = None, **fields: Any) -> JobView:
        """Submit a job. ``fields`` are those of a submission, such as ``name`` or ``notify``.

        Raises
        ------
        NotSecretError
            A ``SecretStr`` stands where the backend would not keep it secret; nothing was sent.
        """
        given = revealed(parameters, lambda: self.backend(backend).parameters_schema, backend)
        body = {"backend": backend, "parameters": given, **fields}
        answer = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key or new_id()})
        return JobView.model_validate(answer.json())

    def call(self, function: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> JobView:
        """Submit a call of a function that the worker has and its operator lists; arguments are JSON values.

        Parameters
        ----------
        function
            The function, or its name as ``module:name``.

        Raises
        ------
        FunctionError
            No import leads to the function.
        """
        return self.submit("call", {"function": dotted_name(function), "args": list(args), "kwargs": kwargs})

    def submit_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> JobView:
        """Submit a function itself, to be called by a worker whose operator allows that; arguments are JSON values.

        With ``heliograph[functions]`` installed, here and on the worker, it goes with its code; otherwise by its name,
        which the worker must be able to import.

        Raises
        ------
        FunctionError
            It cannot be pickled.
        """
        return self.submit("function", {"pickle": pickled(function), "args": list(args), "kwargs": kwargs})

    def submit_many(self, submissions: Iterable[Mapping[str, Any]], *, key: str | None = None) -> list[BatchItem]:
        """Submit many jobs, a thousand with each request; return in their order the job of each, or why there is none.

        What was refused because the service was away is repeated for a while under the same keys, so that each is
        stored once.

        Parameters
        ----------
        submissions
            Each as the api takes it, such as ``{"backend": "sum", "parameters": {"left": 2}}``.
        key
            Stands for all of them: who repeats the call under it gets the same jobs.
        """
        key = key or new_id()
        waiting = list(submissions)
        items: list[BatchItem] = []
        for begin in range(0, len(waiting), MOST_IN_BATCH):
            batch = {"jobs": [dict(each) for each in waiting[begin : begin + MOST_IN_BATCH]]}
            items += self._submit_batch(batch, f"{key}/{begin}")
        return items

    def _submit_batch(self, batch: Mapping[str, Any], key: str) -> list[BatchItem]:
        for pause in (*PAUSE_SECONDS, None):
            answer = self._ask("POST", "/v1/jobs/batch", json=batch, headers={"Idempotency-Key": key})
            items = BatchPage.model_validate(answer.json()).items
            if pause is None or all(item.status != httpx.codes.SERVICE_UNAVAILABLE for item in items):
                return items
            time.sleep(pause)
        raise AssertionError("the last try returns")

    def group(self, name: str, *, owner: str | None = None) -> GroupView:
        """Return what the jobs of a group amount to; with a role for it everybody's, or those of one ``owner``."""
        asked = {"owner": owner} if owner else {}
        return GroupView.model_validate(self._ask("GET", f"/v1/groups/{quote(name, safe='')}", params=asked).json())

    def tree(self, identifier: str) -> TreeView:
        """Return what descends from a job."""
        return TreeView.model_validate(self._ask("GET", _path(identifier, "tree")).json())

    def job(self, identifier: str, *, wait: float = 0) -> JobView:
        """Return a job; with ``wait``, as soon as it is over, or when so many seconds have passed."""
        parameters = {"wait": wait} if wait else {}
        answer = self._ask("GET", _path(identifier), params=parameters, timeout=TIMEOUT_SECONDS + wait)
        return JobView.model_validate(answer.json())

    def wait(self, identifier: str, *, seconds: float | None = None) -> JobView:
        """Return a job once it is over; ``TimeoutError`` where that takes longer than ``seconds``."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = LONGEST_WAIT_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            job = self.job(identifier, wait=min(left, LONGEST_WAIT_SECONDS))
            if job.ended_at:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"the job is {job.state} after {seconds} s")

    def jobs(self, **filters: Any) -> Iterator[JobView]:
        """Yield jobs, the newest first; ``filters`` are the list's query parameters, such as ``state="failed"``."""
        for item in self._pages("/v1/jobs", filters):
            yield JobView.model_validate(item)

    def cancel(self, identifier: str) -> JobView:
        """Cancel a job."""
        return JobView.model_validate(self._ask("POST", _path(identifier, "cancel")).json())

    def retry(self, identifier: str) -> JobView:
        """Run a job that is over once more."""
        return JobView.model_validate(self._ask("POST", _path(identifier, "retry")).json())

    def log(self, identifier: str) -> str:
        """Return what the last attempt printed."""
        return self._ask("GET", _path(identifier, "log")).text

    def follow_log(self, identifier: str) -> Iterator[str]:
        """Yield what a job prints, as it comes, from its present attempt on; ends once the job is over.

        A line stands before each further attempt. A connection that breaks is resumed where it broke.
        """
        job = self.job(identifier)
        series, first = job.series, max(1, job.attempt)
        is_at_line_start = True
        for attempt in count(first):
            heading = f"--- attempt {attempt} ---\n" if attempt > first else ""
            # Both a piece and a connection may end within a character.
            for piece in iterdecode(self._attempt_log(identifier, series, attempt), "utf-8", "replace"):
                yield ("" if is_at_line_start or not heading else "\n") + heading + piece
                heading, is_at_line_start = "", piece.endswith("\n")
            job = self.job(identifier)
            if job.series != series or (job.ended_at and job.attempt <= attempt):
                return

    def _attempt_log(self, identifier: str, series: int, attempt: int) -> Iterator[bytes]:
        """Yield what an attempt prints, all of it, over as many connections as that takes."""
        offset = 0
        timeout = httpx.Timeout(TIMEOUT_SECONDS, read=LONGEST_SILENCE_SECONDS)
        while True:
            # An answer that was asked for after the attempt was over is whole where it ends by itself; any other may
            # have ended because the service did.
            is_over = _is_over(self.job(identifier), series, attempt)
            asked = {"follow": True, "series": series, "attempt": attempt, "offset": offset}
            began = offset
            try:
                with self._http.stream("GET", _path(identifier, "log"), params=asked, timeout=timeout) as answer:
                    if answer.is_error and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        answer.read()
                        raise_problem(answer)
                    if answer.is_success:
                        for data in answer.iter_bytes():
                            offset += len(data)
                            yield data
                        if is_over:
                            return
            except httpx.TransportError:  # broken, or silent for long: whether the service is there, the job tells
                pass
            if offset == began:
                time.sleep(PAUSE_SECONDS[0])

    def download(self, identifier: str, name: str, target: Path) -> Path:
        """Write an artifact to ``target``."""
        with self._http.stream("GET", _path(identifier, "artifacts", name)) as answer:
            if answer.is_error:
                answer.read()
                raise_problem(answer)
            with target.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        return target

    def backends(self) -> list[BackendView]:
        """Return what can be asked for."""
        return [BackendView.model_validate(item) for item in self._ask("GET", "/v1/backends").json()["items"]]

    def backend(self, name: str) -> BackendView:
        """Return a backend and what it takes."""
        return BackendView.model_validate(self._ask("GET", f"/v1/backends/{quote(name, safe='')}").json())

    def pause(self, backend: str) -> BackendView:
        """Let no job of a backend be begun; what runs goes on."""
        return self.change_backend(backend, paused=True)

    def resume(self, backend: str) -> BackendView:
        """Let jobs of a backend be begun again."""
        return self.change_backend(backend, paused=False)

    def change_backend(self, name: str, **change: Any) -> BackendView:
        """Change a backend: ``paused``, or ``limits={"total": 4, "per_owner": 1}``; None takes back what was set."""
        answer = self._ask("PATCH", f"/v1/backends/{quote(name, safe='')}", is_repeatable=True, json=change)
        return BackendView.model_validate(answer.json())

    def dead(self, **filters: Any) -> Iterator[DeadView]:
        """Yield what was given up and what is stuck; ``filters`` are the list's query parameters, as ``kind="job"``."""
        for item in self._pages("/v1/dead", filters):
            yield DeadView.model_validate(item)

    def replay(self, identifier: str) -> ReplayView:
        """Try again what was given up."""
        answer = self._ask("POST", f"/v1/dead/{quote(identifier, safe='')}/replay")
        return ReplayView.model_validate(answer.json())

    def upload(self, path: Path) -> UploadView:
        """Upload an input file; a file parameter takes the answer's ``id``."""
        with path.open("rb") as file:
            answer = self._ask("POST", "/v1/uploads", params={"name": path.name}, content=file)
        return UploadView.model_validate(answer.json())

    def submit_to(self, queue: str, parameters: Mapping[str, Any], *, key: str | None = None, **fields: Any) -> JobView:
        """Submit a job to a pull queue; as ``submit``."""
        given = revealed(parameters, lambda: None, queue)  # agents are given no secrets
        body = {"queue": queue, "parameters": given, **fields}
        answer = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key or new_id()})
        return JobView.model_validate(answer.json())

    def queues(self) -> list[QueueView]:
        """Return the pull queues and what is in them."""
        return [QueueView.model_validate(item) for item in self._ask("GET", "/v1/queues").json()["items"]]

    def queue(self, name: str) -> QueueView:
        """Return a pull queue and what is in it."""
        return QueueView.model_validate(self._ask("GET", _queue_path(name)).json())

    def declare_queue(self, name: str, **rules: Any) -> QueueView:
        """State the rules of a pull queue, all of them; ``rules`` are those of a declaration, such as ``once``."""
        return QueueView.model_validate(self._ask("PUT", _queue_path(name), is_repeatable=True, json=rules).json())

    def pause_queue(self, name: str) -> QueueView:
        """Let nothing be claimed from a queue."""
        return QueueView.model_validate(self._ask("POST", _queue_path(name, "pause"), is_repeatable=True).json())

    def resume_queue(self, name: str) -> QueueView:
        """Let jobs be claimed from a queue again."""
        return QueueView.model_validate(self._ask("POST", _queue_path(name, "resume"), is_repeatable=True).json())

    def delete_queue(self, name: str) -> None:
        """Forget a queue in which nothing waits or is held, and revoke its tokens."""
        self._ask("DELETE", _queue_path(name))

    def tokens(self, queue: str | None = None) -> Iterator[TokenView]:
        """Yield the tokens of a queue, or of all, the oldest first."""
        for item in self._pages("/v1/tokens", {"queue": queue}):
            yield TokenView.model_validate(item)

    def revoke_token(self, identifier: str) -> None:
        """Let a token be taken no more."""
        self._ask("DELETE", f"/v1/tokens/{quote(identifier, safe='')}", is_repeatable=True)

    def issue_token(self, queue: str, description: str, *, expires_at: datetime | None = None) -> IssuedToken:
        """Make a token for the agents of a queue; this is the only time that it is shown."""
        body = {"queue": queue, "description": description}
        if expires_at is not None:
            body["expires_at"] = expires_at.isoformat()
        return IssuedToken.model_validate(self._ask("POST", "/v1/tokens", json=body).json())

    def claim(
        self, queue: str, agent: str, *, most: int = 1, wait: float = 0, lease_seconds: float | None = None,
        key: str | None = None,
    ) -> list[ClaimView]:  # fmt: skip
        """Take up to ``most`` jobs from a queue, waiting so many seconds where there is none.

        It is repeated under one Idempotency-Key while the service is away; an agent that gives the ``key`` can repeat
        it after its own restart, too, and gets the jobs that it still holds.
        """
        body = {"agent": agent, "max": most, "wait": wait, "lease_seconds": lease_seconds}
        answer = self._ask(
            "POST", _queue_path(queue, "claim"), json=body, headers={"Idempotency-Key": key or new_id()},
            timeout=TIMEOUT_SECONDS + wait,
        )  # fmt: skip
        return ClaimPage.model_validate(answer.json()).items

    def report(self, identifier: str, lease_token: str, **told: Any) -> JobView:
        """Report on a claimed job; ``told`` are the fields of a report, such as ``state`` or ``progress``."""
        body = {"lease_token": lease_token, **told}
        answer = self._ask("POST", _path(identifier, "report"), is_repeatable=True, json=body)
        return JobView.model_validate(answer.json())

    def heartbeat(self, identifier: str, lease_token: str) -> BeatView:
        """Renew the lease on a claimed job; the answer tells whether to stop, and when the job's time is over."""
        body = {"lease_token": lease_token}
        answer = self._ask("POST", _path(identifier, "heartbeat"), is_repeatable=True, json=body)
        return BeatView.model_validate(answer.json())

    def release(self, identifier: str, lease_token: str | None = None) -> JobView:
        """Give a claimed job back; a queue manager needs no token."""
        body = {"lease_token": lease_token}
        answer = self._ask("POST", _path(identifier, "release"), is_repeatable=lease_token is not None, json=body)
        return JobView.model_validate(answer.json())


def _path(*parts: str) -> str:
    """Return the path of a job or of what belongs to it; names of files may hold any character."""
    return "/v1/jobs/" + "/".join(quote(part, safe="") for part in parts)


def _queue_path(name: str, *action: str) -> str:
    return "/v1/queues/" + "/".join(quote(part, safe="") for part in (name, *action))


def _is_over(job: JobView, series: int, attempt: int) -> bool:
    """Return whether an attempt, made or not, prints no more."""
    is_past = job.attempt > attempt or (job.attempt == attempt and job.state is State.QUEUED)
    return job.ended_at is not None or job.series > series or is_past
