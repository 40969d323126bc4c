"""``[http.NAME]``: a remote data server. It answers at once, or says where to ask and calls back when it is done."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx

from heliograph.backends import (
    Backend,
    BackendError,
    Cancelled,
    FatalError,
    Finished,
    Gone,
    JobContext,
    StillRunning,
    TransientError,
    UsageError,
)
from heliograph.callbacks.message import Message, Outcome
from heliograph_worker.backends.http_refusals import UnknownThereError, shown
from heliograph_worker.backends.http_server import Accepted, DataServer
from heliograph_worker.backends.http_table import HttpTable
from heliograph_worker.backends.outbound import Answer, address

__all__ = ["HttpTable", "make"]

STATUS, CANCEL = "status_url", "cancel_url"  # as what is remembered is called
_ACCEPTED = 202
_NO_CONTENT = 204
_LONGEST_ETA = timedelta(days=10_000).total_seconds()
_FAILURES: Mapping[str | None, type[BackendError]] = {"usage": UsageError, "transient": TransientError}


def make(name: str, table: HttpTable) -> Backend:
    """Make the backend.

    Raises
    ------
    ValueError
        The schema of its parameters cannot be used.
    """

    def run(parameters: Any, job: JobContext) -> object:
        return _Exchange(table, job).run(parameters.root)

    def reconcile(_: Any, job: JobContext) -> Finished | StillRunning | Gone:
        return _Exchange(table, job).reconcile()

    host = httpx.URL(table.url).host
    made = table.backend(name, table.model_of_parameters(), run, about=f"Done by the data server at {host}.")
    return replace(made, reconcile=reconcile)


class _Exchange:
    """One attempt of a job, and what its data server makes of it."""

    def __init__(self, table: HttpTable, job: JobContext) -> None:
        self._table = table
        self._job = job
        self._server = DataServer(table)
        self._is_away = False

    def run(self, parameters: Mapping[str, Any]) -> object:
        """Have it done, and return the result."""
        job = self._job
        callback_url = self._callback_url()
        self._remember(Accepted())
        body = {"job": job.id, "attempt": job.attempt, "parameters": parameters, "callback": callback_url}
        with self._server.begin(body) as answer:
            if answer.status != _ACCEPTED:
                return self._result_of(answer)
            accepted = self._server.accepted(answer)
        if accepted.status_url is None and callback_url is None:
            raise FatalError(
                f"{self._server.host} answered 202 without an address to ask at, and cannot call back: this worker "
                "has no HELIOGRAPH_LINK_KEYS"
            )
        try:
            self._remember(accepted)
            return self._wait(accepted.status_url, calls_back=callback_url is not None)
        except Cancelled:
            # Where its worker closes, the job comes back, and asks how far its data server has come, if it can ask.
            comes_back = job.stop_reason == "shutdown" and accepted.status_url is not None
            if not comes_back and (heard := self._server.stop(accepted)) is not None:
                job.log(f"heliograph: {self._server.host} {'was told' if heard else 'could not be told'} to stop")
            raise

    def reconcile(self) -> Finished | StillRunning | Gone:
        """Ask whether what an earlier attempt began still goes on."""
        remembered = self._job.remembered.get(STATUS)
        if not isinstance(remembered, str):
            return Gone()
        try:
            finished = self._ask(address(remembered))
        except UnknownThereError:
            return Gone()
        return finished or StillRunning(timedelta(seconds=self._table.poll_seconds))

    def _wait(self, status_url: httpx.URL | None, *, calls_back: bool) -> object:
        """Hear what is told, and ask where nothing is told for a while, until it is done."""
        pause = timedelta(seconds=self._table.poll_seconds) if status_url else None
        finished = None
        while not finished:
            if calls_back and (callback := self._job.next_callback(pause)):
                finished = self._called_back(Message.of(dict(callback.body)), status_url)
            elif status_url is not None:
                if not calls_back:
                    time.sleep(self._table.poll_seconds)
                finished = self._ask(status_url)
        return finished.result

    def _called_back(self, message: Message, status_url: httpx.URL | None) -> Finished | None:
        """Do as a callback says; the result of one that says no more than "done" is where its status is."""
        finished = self._hear(message)
        if not finished or status_url is None or message.result is not None or message.result_url is not None:
            return finished
        try:
            return self._ask(status_url)
        except UnknownThereError:
            return finished

    def _ask(self, status_url: httpx.URL) -> Finished | None:
        """Ask how far it is; a server that is away for a while is asked again later."""
        try:
            message = self._server.status(status_url)
        except TransientError as error:
            if not self._is_away:
                self._job.log(f"heliograph: {error}; asked again every {self._table.poll_seconds:g} s")
            self._is_away = True
            return None
        self._is_away = False
        return self._hear(message)

    def _hear(self, message: Message) -> Finished | None:
        """Do as a message says: tell of progress, end, or fail."""
        if message.outcome is Outcome.FAILED:
            text = shown(message.message or "it failed without a word", self._server.secrets)
            raise _FAILURES.get(message.kind, FatalError)(text)
        at = f"{message.stage} on {message.node}" if message.stage and message.node else message.stage or message.node
        eta = None if message.eta_seconds is None else timedelta(seconds=min(message.eta_seconds, _LONGEST_ETA))
        self._job.progress(message.fraction, stage=at, eta=eta, message=message.message)
        if message.outcome is Outcome.GOES_ON:
            return None
        if message.result_url is None:
            return Finished(message.result)
        with self._server.fetch(message.result_url) as answer:
            kept = self._keep(answer)
        return Finished(kept if message.result is None else message.result)

    def _result_of(self, answer: Answer) -> object:
        """Return a JSON answer as it is; keep any other as an artifact."""
        if answer.status == _NO_CONTENT:
            return None
        return answer.json() if answer.is_json else self._keep(answer)

    def _keep(self, answer: Answer) -> dict[str, Any]:
        name = answer.name()
        place = self._job.scratch / ".answer"
        size = answer.save(place, self._table.largest_answer)
        self._job.artifact(name, place, media_type=answer.media_type or None)
        place.unlink()
        return {"artifact": name, "bytes": size}

    def _remember(self, accepted: Accepted) -> None:
        """Keep where the server can be asked, for an attempt that follows if this worker is lost."""
        wanted = {STATUS: accepted.status_url, CANCEL: accepted.cancel_url}
        values = {name: None if url is None else str(url) for name, url in wanted.items()}
        if any(self._job.remembered.get(name) != value for name, value in values.items()):
            self._job.remember(**values)

    def _callback_url(self) -> str | None:
        try:
            url = self._job.callback_url
        except FatalError:  # a worker without keys; the server can be asked
            return None
        self._server.secrets.append(url)
        return url
