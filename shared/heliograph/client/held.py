"""A job of a pull queue as the program sees it that does it, and the signs of life that keep it."""

import logging
import threading
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx

from heliograph.client.asking import ProblemError
from heliograph.wire import ClaimView, JobView

if TYPE_CHECKING:
    from heliograph.client.client import Client

LONGEST_BEAT_SECONDS = 10.0  # without leases, too: a wish to stop is known so soon

PASSING = (httpx.HTTPError, ValueError)  # the service is away, or something else answers in its place

_log = logging.getLogger("heliograph.agent")


class HeldJob:
    """A job that this program has taken. Any thread may ask and tell.

    Attributes
    ----------
    view
        The whole job, as it was when it was begun.
    """

    def __init__(self, client: "Client", claimed: ClaimView) -> None:
        self.view: JobView = claimed.job
        self.lease_token = claimed.lease_token
        self._client = client
        self._deadline = claimed.deadline
        self._stop_reason: str | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.view.id

    @property
    def parameters(self) -> Any:
        """What was submitted."""
        return self.view.parameters

    @property
    def deadline(self) -> datetime | None:
        """When the time limit ends it (UTC), if it has one."""
        return self._deadline

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop. What does so raises ``heliograph.backends.Cancelled``."""
        return self._stop_reason is not None

    @property
    def stop_reason(self) -> str | None:
        """Why it is to stop: ``cancelled``, as somebody wishes, or ``lost``: it is over, or another agent's by now.

        None while it is not to stop.
        """
        return self._stop_reason

    def progress(
        self,
        fraction: float | None = None,
        *,
        stage: str | None = None,
        eta: timedelta | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is, as a backend does; where that cannot be told just now, the work goes on."""
        told = {
            "progress": fraction, "stage": stage, "message": message,
            "eta_seconds": None if eta is None else eta.total_seconds(),
        }  # fmt: skip
        try:
            self.tell(**{name: value for name, value in told.items() if value is not None})
        except (ProblemError, httpx.HTTPError) as error:
            _log.warning("job %s: its progress was not taken: %s", self.id, error)

    def tell(self, **told: Any) -> JobView:
        """Report on it, as ``Client.report`` does; of one that is lost that is noted."""
        try:
            job = self._client.report(self.id, self.lease_token, **told)
        except ProblemError as refusal:
            self._note(refusal)
            raise
        if job.cancel_requested and not job.ended_at:
            self._stop_reason = self._stop_reason or "cancelled"
        return job

    def begin(self) -> None:
        """Say that it is begun; raises as ``tell`` does."""
        self.view = self.tell(state="running")
        if self._deadline is not None:  # it is set anew
            self.beat()

    def beat(self) -> None:
        """Show that it is being seen to, and hear whether it is to stop."""
        try:
            beat = self._client.heartbeat(self.id, self.lease_token)
        except ProblemError as refusal:
            self._note(refusal)
        except PASSING as error:
            _log.warning("job %s: no sign of life was taken: %s", self.id, error)
        else:
            self._deadline = beat.deadline
            if beat.cancel_requested:
                self._stop_reason = self._stop_reason or "cancelled"

    def _note(self, refusal: ProblemError) -> None:
        if refusal.problem.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
            self._stop_reason = "lost"


class Beats:
    """A thread that shows, while the block runs, that the jobs of a claim are being seen to.

    Parameters
    ----------
    jobs
        Looked at anew before each round; what is taken out is left alone from then on.
    seconds
        Between two rounds.
    """

    def __init__(self, jobs: list[HeldJob], seconds: float) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heliograph-beats", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._is_over.wait(self._seconds):
            for job in tuple(self._jobs):
                if job.stop_reason != "lost" and not self._is_over.is_set():
                    job.beat()
