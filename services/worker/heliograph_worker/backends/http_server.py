"""A remote data server, as one attempt of a job speaks to it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from heliograph.backends import FatalError
from heliograph.callbacks.message import Message
from heliograph.errors import InvalidInputError
from heliograph_worker.backends.destinations import Destinations
from heliograph_worker.backends.http_refusals import judge
from heliograph_worker.backends.http_table import HttpTable
from heliograph_worker.backends.outbound import Answer, Outbound, address

CANCEL_KEY = "cancel_url"
_CANCEL_SECONDS = 2.0
_FETCH_SECONDS = 60.0  # of silence, while a status or a result is fetched


@dataclass(frozen=True, slots=True)
class Accepted:
    """Where a server that has begun can be asked, and stopped."""

    status_url: httpx.URL | None = None
    cancel_url: httpx.URL | None = None


class DataServer:
    """Sends what a job wants done to a server, and reads what it answers.

    ``secrets`` are what the server may repeat in its answers, and nobody is to read.

    Raises
    ------
    FatalError
        The variable with its token is not there.
    """

    def __init__(self, table: HttpTable) -> None:
        self._table = table
        self.secrets: list[str] = []
        self._outbound = Outbound(
            Destinations(table.url, table.allowed_hosts, allow_private=table.allow_private),
            table.connect_seconds,
            self._headers(),
        )

    @property
    def host(self) -> str:
        """What it is called, for people."""
        return httpx.URL(self._table.url).host

    @contextmanager
    def begin(self, body: Any) -> Iterator[Answer]:
        """Ask it to begin, and give its answer, a success, to the block."""
        silence = self._table.read_seconds or self._table.timeout
        with self._outbound.exchange(self._table.method, self._table.url, read_seconds=silence, body=body) as answer:
            judge(answer, self.secrets)
            yield answer

    def accepted(self, answer: Answer) -> Accepted:
        """Read where it can be asked; a body that says nothing of it, or is no JSON, is as good as none."""
        body: Any = None
        if answer.is_json:
            with suppress(FatalError):
                body = answer.json()
        location = answer.response.headers.get("location")
        return Accepted(
            self._given(location or _find(body, self._table.poll.url_key), answer.url),
            self._given(_find(body, CANCEL_KEY), answer.url),
        )

    def status(self, url: httpx.URL) -> Message:
        """Ask how far it is. What it says in its own words is read as a message; what makes no sense is left out.

        Raises
        ------
        UnknownThereError
            It knows nothing of the work.
        """
        with self._outbound.exchange("GET", url, read_seconds=_FETCH_SECONDS) as answer:
            judge(answer, self.secrets, knows_the_job=True)
            body = answer.json()
        poll = self._table.poll
        word = _find(body, poll.state_key)
        if not isinstance(word, str):
            raise FatalError(f"{self.host} answered with a status that has no text {poll.state_key!r}")
        words = {word.lower(): "done" for word in poll.done} | {word.lower(): "failed" for word in poll.failed}
        known = {"state": words.get(word.strip().lower(), "progress"), "result": _find(body, poll.result_key)}
        try:
            return Message.of({name: value for name, value in body.items() if name != "action"} | known)
        except InvalidInputError:
            return Message.of(known)

    @contextmanager
    def fetch(self, result_url: str) -> Iterator[Answer]:
        """Get a result from where it says that one is, and give that answer to the block."""
        url = address(result_url, address(self._table.url))
        with self._outbound.exchange("GET", url, read_seconds=_FETCH_SECONDS) as answer:
            judge(answer, self.secrets)
            yield answer

    def stop(self, accepted: Accepted) -> bool | None:
        """Tell it that nobody waits any more, in two seconds at most; return whether it heard, None: it has no way."""
        method, url = ("POST", accepted.cancel_url) if accepted.cancel_url else ("DELETE", accepted.status_url)
        if url is None:
            return None
        heard = threading.Event()

        def tell() -> None:
            with suppress(Exception), self._outbound.exchange(method, url, read_seconds=_CANCEL_SECONDS) as answer:
                judge(answer, self.secrets)
                heard.set()

        # A thread, for the name of a host may take longer to be found, and nothing else ends that.
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        thread.join(_CANCEL_SECONDS)
        return heard.is_set()

    def _given(self, text: Any, base: httpx.URL) -> httpx.URL | None:
        """Read an address that the server gave, if it did; refuse one that it may not lead to now, not at its use."""
        if not isinstance(text, str) or not text:
            return None
        url = address(text, base)
        self._outbound.destinations.check(url)
        return url

    def _headers(self) -> dict[str, str]:
        variable = self._table.token_variable
        if variable is None:
            return self._table.headers
        token = os.environ.get(variable)
        if not token:
            raise FatalError(
                f"this worker's jobs have no {variable}: its operator sets it and names it in HELIOGRAPH_KEEP_VARIABLES"
            )
        if not (token.isascii() and token.isprintable()):
            raise FatalError(f"the value of {variable} holds characters that no header has")
        self.secrets.append(token)
        return {**self._table.headers, "Authorization": f"Bearer {token}"}


def _find(body: Any, key: str) -> Any:
    """Return the value at a key such as ``job.state``; None where there is none."""
    for part in key.split("."):
        if not isinstance(body, dict):
            return None
        body = body.get(part)
    return body
