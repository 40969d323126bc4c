"""An agent: takes the jobs of a pull queue, has each of them done, and tells how it went, whatever goes wrong."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType
from typing import TYPE_CHECKING, Any

from heliograph.backends.errors import BackendError, Cancelled
from heliograph.backends.failures import describe
from heliograph.client.asking import ProblemError
from heliograph.client.held import LONGEST_BEAT_SECONDS, PASSING, Beats, HeldJob
from heliograph.ids import new_id

if TYPE_CHECKING:
    from heliograph.client.client import Client

LOOK_SECONDS = 5.0  # one claim waits so long: who is told to end is gone so soon
PAUSE_SECONDS = 10.0  # before the next try, where something is wrong
_LOOK_UP_SECONDS = 0.2
_BEATS_IN_A_LEASE = 3
_OF_THE_RESULT = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}

_log = logging.getLogger("heliograph.agent")


class Agent:
    """Does the jobs of one queue, one after the other, until it is told to end.

    Parameters
    ----------
    client
        With a token of the queue.
    queue
        Whose jobs.
    function
        Does a job: what it returns, a JSON value, is the result. What it raises is why the job failed.
    name
        What the agent calls itself.
    most
        How many jobs are claimed at a time.
    """

    def __init__(
        self, client: "Client", queue: str, function: Callable[[HeldJob], Any], name: str, most: int = 1
    ) -> None:
        self._client = client
        self._queue = queue
        self._function = function
        self._name = name
        self._most = most
        self._is_ending = False  # no Event: a signal that comes within its lock would wait for itself
        self._held: list[HeldJob] = []

    def end(self) -> None:
        """Begin nothing more: the job at hand is finished, what is not begun given back. Any thread may call it."""
        self._is_ending = True

    def run(self) -> None:
        """Take jobs and do them until ``end`` is called, or the first SIGTERM or SIGINT comes; the second interrupts.

        Raises
        ------
        ProblemError
            There is no such queue, or the token is not for it: said at the start alone, for later the service may be
            under repair.
        """
        lease = self._client.queue(self._queue).lease_seconds
        seconds = LONGEST_BEAT_SECONDS if lease is None else min(LONGEST_BEAT_SECONDS, lease / _BEATS_IN_A_LEASE)
        key = new_id()
        with self._signals():
            while not self._is_ending:
                try:
                    claimed = self._client.claim(self._queue, self._name, most=self._most, wait=LOOK_SECONDS, key=key)
                except (ProblemError, *PASSING) as error:
                    _log.warning("no work, and the next try in %g s: %s", PAUSE_SECONDS, error)
                    self._pause()
                    continue  # under the same key: jobs that were taken, and the answer lost, are found again
                key = new_id()
                if claimed:
                    self._held[:] = (HeldJob(self._client, each) for each in claimed)
                    with Beats(self._held, seconds):
                        self._do_all()

    def _do_all(self) -> None:
        """Do what is held, each job by itself; what is left of it, however this ends, is given back."""
        try:
            while self._held and not self._is_ending:
                try:
                    self._do(self._held[0])
                finally:
                    del self._held[0]
        finally:
            while self._held:
                self._give_back(self._held[0])
                del self._held[0]

    def _do(self, job: HeldJob) -> None:
        if not self._begin(job):
            return
        try:
            if job.cancelled:
                raise Cancelled
            result = self._function(job)
            json.dumps(result, allow_nan=False, ensure_ascii=False).encode()  # what is no JSON fails the job
        except Cancelled:
            self._tell_end(job, state="cancelled")
        except Exception as error:  # noqa: BLE001 - whatever the function raises is the end of this job alone
            if not isinstance(error, BackendError):
                _log.exception("job %s failed", job.id)
            self._tell_end(job, **_failure(error))
        except BaseException:  # this program ends
            self._tell_end(job, **_failed("transient", "its agent was stopped in the midst of it"))
            raise
        else:
            self._tell_end(job, state="done", result=result)

    def _begin(self, job: HeldJob) -> bool:
        """Say that a job is begun, until that is taken or refused; return whether it is."""
        while True:
            try:
                job.begin()
            except ProblemError as refusal:
                _log.warning("job %s is not begun: %s", job.id, refusal)
                if refusal.problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return False  # over, or another agent's: the next one is not concerned
            except PASSING as error:
                _log.warning("job %s is not begun: %s", job.id, error)
            else:
                return True
            if self._pause():
                self._give_back(job)
                return False

    def _tell_end(self, job: HeldJob, **told: Any) -> None:
        """Report an end until it is taken or refused; of who is to end himself, it is tried once."""
        while True:
            try:
                job.tell(**told)
            except ProblemError as refusal:
                _log.warning("job %s: its end (%s) was not taken: %s", job.id, told["state"], refusal)
                if refusal.problem.status in _OF_THE_RESULT and told["state"] == "done":
                    told = _failed("fatal", f"its result cannot be kept: {refusal}")
                    continue
                if refusal.problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return
            except PASSING as error:
                _log.warning("job %s: its end (%s) cannot be told: %s", job.id, told["state"], error)
            else:
                return
            if self._pause():
                return

    def _give_back(self, job: HeldJob) -> None:
        """Release a job that is not begun; one that may not be handed out again fails, and says that it may be run."""
        try:
            self._client.release(job.id, job.lease_token)
        except ProblemError as refusal:
            _log.warning("job %s is not given back: %s", job.id, refusal)
            if refusal.problem.status == HTTPStatus.CONFLICT:
                words = "its agent was stopped before it began: nothing of it was done"
                self._tell_end(job, **_failed("transient", words))
        except PASSING as error:
            _log.warning("job %s is not given back: %s", job.id, error)

    def _pause(self) -> bool:
        """Wait before the next try; return whether, at once or meanwhile, it was told to end."""
        until = time.monotonic() + PAUSE_SECONDS
        while not self._is_ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_UP_SECONDS))
        return self._is_ending

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """End at a signal; in any other thread than the main one nobody can be told of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def tell(number: int, _frame: FrameType | None) -> None:
            if self._is_ending:
                raise SystemExit(128 + number)  # as a shell says of who was ended by a signal
            self.end()
            _log.warning("told to end: the job at hand is finished, what is not begun is given back")

        before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _failure(error: Exception) -> dict[str, Any]:
    kind, message, _ = describe(error, stop_asked=False)
    return _failed(kind, message)


def _failed(kind: str, message: str) -> dict[str, Any]:
    return {"state": "failed", "error": {"kind": kind, "message": message}}
