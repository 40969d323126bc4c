"""An attempt whose log a test writes, chunk by chunk, as a worker does."""

from dataclasses import replace
from datetime import timedelta

from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import ClaimStore, LogStore
from heliograph.jobs.store.claims import LEASE, Finish
from tests.parts.api import Api
from tests.parts.jobs import TROUBLE, lease_of

RETRIED = Finish(State.FAILED, error=TROUBLE, retry_after=timedelta(0))
HANDED_BACK = Finish(State.QUEUED, hands_back=True)
DONE = Finish(State.DONE)


class Attempt:
    """An attempt at a job, as a worker makes it."""

    def __init__(self, api: Api, job: Job) -> None:
        self._api = api
        self._job = job
        self._n = job.seq << 20

    @classmethod
    async def at(cls, api: Api, job: str) -> "Attempt":
        claimed = await ClaimStore(api.database).claim(("sum",), "worker", LEASE)
        assert claimed
        assert claimed.id == job
        api.app.state.parts.relay.nudge(job)
        return cls(api, claimed)

    async def prints(self, data: bytes) -> None:
        job = self._job
        await LogStore(self._api.database).append(job.id, job.series, job.attempt, lease_of(job).token, self._n, data)
        self._n += 2  # rising, not dense

    async def ends(self, finish: Finish = DONE) -> None:
        change = replace(finish, change=new_id())  # one and the same change is made once
        assert await ClaimStore(self._api.database).finish(self._job.id, lease_of(self._job).token, change, "worker")
        self._api.app.state.parts.relay.nudge(self._job.id)
