"""How the client asks: over kept connections, again while the service is away, page after page."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx

from heliograph.wire import Problem

TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # before each further try while the service is away


class ProblemError(Exception):
    """The api refused; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Asking:
    """Connections to one api, on behalf of one token."""

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

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            asked = {name: value for name, value in {**filters, "cursor": cursor}.items() if value is not None}
            page = self._ask("GET", path, params=asked).json()
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def _ask(self, method: str, path: str, *, is_repeatable: bool = False, **request: Any) -> httpx.Response:
        is_repeatable |= method == "GET" or "Idempotency-Key" in request.get("headers", {})
        for pause in (*PAUSE_SECONDS, None):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError:
                if pause is None or not is_repeatable:
                    raise
            else:
                is_away = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
                if not (is_away and is_repeatable and pause is not None):
                    return answer if answer.is_success else raise_problem(answer)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")


def raise_problem(answer: httpx.Response) -> httpx.Response:
    """Raise what an answer that is no success says."""
    try:
        problem = Problem.model_validate(answer.json())
    except ValueError:
        answer.raise_for_status()
        raise
    raise ProblemError(problem)
