"""A small Python client of the native api."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from heliograph.ids import new_id
from heliograph.wire import BackendView, JobView, NoticeView, Problem, UploadView

TIMEOUT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 30.0  # one long poll; the api takes up to 60, proxies often less
PAUSE_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # before each further try while the service is away


class ProblemError(Exception):
    """The api refused; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Client:
    """Talks to one api on behalf of one token.

    A submission is repeated under one Idempotency-Key while the service is away, so it is stored once.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = TIMEOUT_SECONDS) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, backend: str, parameters: Mapping[str, Any], *, key: str | None = None, **fields: Any) -> JobView:
        """Submit a job. ``fields`` are those of a submission, such as ``name`` or ``notify``."""
        body = {"backend": backend, "parameters": dict(parameters), **fields}
        answer = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key or new_id()})
        return JobView.model_validate(answer.json())

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

    def download(self, identifier: str, name: str, target: Path) -> Path:
        """Write an artifact to ``target``."""
        with self._http.stream("GET", _path(identifier, "artifacts", name)) as answer:
            if answer.is_error:
                answer.read()
                _raise(answer)
            with target.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        return target

    def notices(self, identifier: str) -> list[NoticeView]:
        """Return who was told of a job."""
        items = self._ask("GET", _path(identifier, "notices")).json()["items"]
        return [NoticeView.model_validate(item) for item in items]

    def backends(self) -> list[BackendView]:
        """Return what can be asked for."""
        return [BackendView.model_validate(item) for item in self._ask("GET", "/v1/backends").json()["items"]]

    def backend(self, name: str) -> BackendView:
        """Return a backend and what it takes."""
        return BackendView.model_validate(self._ask("GET", f"/v1/backends/{quote(name, safe='')}").json())

    def upload(self, path: Path) -> UploadView:
        """Upload an input file; a file parameter takes the answer's ``id``."""
        with path.open("rb") as file:
            answer = self._ask("POST", "/v1/uploads", params={"name": path.name}, content=file)
        return UploadView.model_validate(answer.json())

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            asked = {name: value for name, value in {**filters, "cursor": cursor}.items() if value is not None}
            page = self._ask("GET", path, params=asked).json()
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        is_repeatable = method == "GET" or "Idempotency-Key" in request.get("headers", {})
        for pause in (*PAUSE_SECONDS, None):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError:
                if pause is None or not is_repeatable:
                    raise
            else:
                is_away = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
                if not (is_away and is_repeatable and pause is not None):
                    return answer if answer.is_success else _raise(answer)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")


def _path(*parts: str) -> str:
    """Return the path of a job or of what belongs to it; names of files may hold any character."""
    return "/v1/jobs/" + "/".join(quote(part, safe="") for part in parts)


def _raise(answer: httpx.Response) -> httpx.Response:
    try:
        problem = Problem.model_validate(answer.json())
    except ValueError:
        answer.raise_for_status()
        raise
    raise ProblemError(problem)
