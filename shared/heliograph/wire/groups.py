"""Many jobs at once: groups and trees as a client reads them, and batches of submissions."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heliograph.jobs.model import Job
from heliograph.jobs.sets import Group, Tally
from heliograph.jobs.states import State
from heliograph.wire.jobs import JobPage, JobView
from heliograph.wire.problem import Problem
from heliograph.wire.submission import Submission

MOST_IN_BATCH = 1000


class TallyView(BaseModel):
    """How many jobs are in each state."""

    counts: dict[State, int] = Field(description="Jobs by state, each state named")
    total: int
    progress: float = Field(description="The share that is over, 0 to 1")


class FailedView(BaseModel):
    """A job that failed, and why."""

    id: str
    name: str | None
    message: str | None


class GroupView(TallyView):
    """What the jobs of a group amount to."""

    model_config = ConfigDict(frozen=True)

    group: str
    state: State = Field(
        description="`running` while one is held, else `queued` while one waits, else the worst that one ended in"
    )
    created_at: datetime = Field(description="When the first was submitted")
    ended_at: datetime | None = Field(description="When the last ended; null while one is not over")
    failed: list[FailedView] = Field(description="The first 20 that failed")


class TreeView(TallyView):
    """A job, and what descends from it."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: State = Field(description="Of the job itself; the counts are of what descends from it")
    started_at: datetime | None
    ended_at: datetime | None
    children: JobPage = Field(description="The newest 50; `next` is a cursor of `/v1/jobs?parent=`")


class Batch(BaseModel):
    """Submissions, each judged by itself."""

    jobs: list[Submission] = Field(min_length=1, max_length=MOST_IN_BATCH)


class BatchItem(BaseModel):
    """What became of one submission: its job, with 201, or 200 where it was known; else the problem."""

    model_config = ConfigDict(frozen=True)

    status: int
    job: JobView | None = None
    problem: Problem | None = None


class BatchPage(BaseModel):
    """What became of each submission, in their order."""

    items: list[BatchItem]


def group_json(group: Group) -> dict[str, Any]:
    """Return a group in the shape of ``GroupView``."""
    return {
        "group": group.name, "state": group.tally.state, **_tally(group.tally), "created_at": group.created_at,
        "ended_at": group.ended_at,
        "failed": [{"id": each.id, "name": each.name, "message": each.message} for each in group.failed],
    }  # fmt: skip


def tree_json(job: Job, descendants: Tally, children: dict[str, Any]) -> dict[str, Any]:
    """Return a tree in the shape of ``TreeView``; ``children`` is in the shape of ``JobPage``."""
    return {
        "id": job.id, "state": job.state, **_tally(descendants), "started_at": job.started_at,
        "ended_at": job.ended_at, "children": children,
    }  # fmt: skip


def _tally(tally: Tally) -> dict[str, Any]:
    counts = {state.value: tally.by_state.get(state, 0) for state in State}
    return {"counts": counts, "total": tally.total, "progress": tally.progress}
