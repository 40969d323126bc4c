"""A job's log as it is printed: at once what there is, then what comes, until the attempt is over.

State is read before chunks, and a worker stores an attempt's last chunk before its end. So once an attempt that was
seen to be over has been read to the end of its chunks, nothing of it is missing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from heliograph.errors import NotFoundError
from heliograph.jobs.model import Job
from heliograph.jobs.states import OVER, State
from heliograph.jobs.store import LogStore
from heliograph.jobs.store.logs import LogChunk
from heliograph.storage import StoreUnavailableError
from heliograph_api.waiting import Waiting

LOOK_SECONDS = 0.5  # while something may print: no event tells of a chunk, and workers store one every 0.2 s at most
# While the database is away: more than the 2 s that one look then takes, or a release could not be told from it.
AWAY_LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 60.0  # with a database that is away; a restart takes a few seconds, an election up to 12
LONGEST_SECONDS = 3600.0  # one answer, which keeps its reader's rights for so long; clients come again


class Follower:
    """Follows one attempt at a job or, where none is named, from its present attempt on all that follow in a series.

    Parameters
    ----------
    logs, waiting
        The parts that it reads from, and is woken by.
    read
        Reads the job with the caller's rights.
    job
        The job as it is now.
    series, attempt
        Which ones; by default the present series, and its attempts from the present one, or the first, on.
    offset
        How many bytes of the text to leave out.
    """

    def __init__(
        self, logs: LogStore, waiting: Waiting, read: Callable[[], Awaitable[Job]], job: Job,
        series: int | None = None, attempt: int | None = None, offset: int = 0,
    ) -> None:  # fmt: skip
        self._logs = logs
        self._waiting = waiting
        self._read = read
        self._job = job
        self._read_at = _clock()
        self._series = series or job.series
        self._is_named = attempt is not None
        self._first = self._attempt = attempt or (max(1, job.attempt) if self._series == job.series else 1)
        self._after: int | None = None  # the last chunk of this attempt that was sent
        self._token: str | None = None  # the lease under which the last chunk was printed
        self._is_at_line_start = True
        self._left_out = offset

    async def text(self) -> AsyncIterator[bytes]:
        """Yield the log in pieces; a line stands before each further attempt.

        It ends early, at the end of a piece, once everybody is released, the job is removed, the database stays away
        for ``PATIENCE_SECONDS``, or after ``LONGEST_SECONDS``.
        """
        deadline = _clock() + LONGEST_SECONDS
        job: Job | None = self._job
        while job is not None:
            is_read = False
            try:
                async for chunk in self._logs.read(job.id, self._series, self._attempt, after=self._after):
                    if piece := self._piece(chunk):
                        yield piece
                is_read = True
            except StoreUnavailableError:
                pass  # what was not read yet is read after the next look
            if not is_read or not is_over(job, self._series, self._attempt):
                job = await self._next(job, deadline, is_read=is_read)
            elif self._is_named or is_last(job, self._series, self._attempt):
                return
            else:
                self._attempt += 1
                self._after = None

    async def _next(self, job: Job, deadline: float, *, is_read: bool) -> Job | None:
        """Return the job when it has changed or the log is to be looked at again; None where the answer is to end."""
        seconds = left = deadline - _clock()
        if not is_read:
            seconds = min(left, AWAY_LOOK_SECONDS)
        elif job.state is not State.QUEUED:
            seconds = min(left, LOOK_SECONDS)
        if left <= 0:
            return None
        woken_by = _clock() + seconds
        try:
            found = await self._waiting.until(job.id, self._look, lambda found: found.seq != job.seq, seconds)
        except (StoreUnavailableError, NotFoundError):
            return None
        is_released = found.seq == job.seq and _clock() < woken_by  # nothing else lets anybody go before the time
        return None if is_released else found

    async def _look(self) -> Job:
        """Return the job; while the database is away, as it was."""
        try:
            self._job = await self._read()
            self._read_at = _clock()
        except StoreUnavailableError:
            if _clock() - self._read_at > PATIENCE_SECONDS:
                raise
        return self._job

    def _piece(self, chunk: LogChunk) -> bytes:
        """Return what to send of a chunk, after a line of its own where another attempt begins with it."""
        begins = chunk.token != self._token and (self._token is not None or self._attempt > self._first)
        line = f"{'' if self._is_at_line_start else chr(10)}--- attempt {self._attempt} ---\n" if begins else ""
        self._after, self._token = chunk.n, chunk.token
        self._is_at_line_start = chunk.data.endswith(b"\n")
        text = line.encode() + chunk.data
        left_out = min(self._left_out, len(text))
        self._left_out -= left_out
        return text[left_out:]


def is_over(job: Job, series: int, attempt: int) -> bool:
    """Return whether an attempt, made or not, prints no more.

    One that was handed back is not: another of the same number goes on with its log.
    """
    if job.state in OVER or job.series > series:
        return True
    is_past = job.attempt > attempt or (job.attempt == attempt and job.state is State.QUEUED)
    return job.series == series and is_past


def is_last(job: Job, series: int, attempt: int) -> bool:
    """Return whether no further attempt of the series follows one that is over."""
    if job.series > series:
        return attempt >= job.max_attempts  # how many were made is not known any more
    return job.state in OVER and attempt >= job.attempt


def _clock() -> float:
    """Return the loop's time, by which ``Waiting`` counts its seconds."""
    return asyncio.get_running_loop().time()
