"""Cancelled and run again: whatever races with it, a series ends exactly once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from heliograph.errors import ConflictError, NotFoundError
from heliograph.identity.identity import Scope
from heliograph.jobs.model import Artifact, Job, JobError
from heliograph.jobs.states import OVER, ErrorKind, State
from heliograph.jobs.store.apply import apply_change
from heliograph.jobs.store.changes import reopening
from heliograph.jobs.store.claims import Finish, Progress
from tests.parts.jobs import ALREADY_OVER, Stores, done, failed, lease_of

Ending = Callable[[Stores, Job], Awaitable[object]]


async def end_done(stores: Stores, job: Job) -> object:
    return await stores.finish(job, done(1))


async def end_retry(stores: Stores, job: Job) -> object:
    return await stores.finish(job, failed(retry_after=timedelta(seconds=60)))


async def end_lost(stores: Stores, job: Job) -> object:
    [lost] = await stores.upkeep.lost_leases()
    return await stores.upkeep.take_back(lost, timedelta(hours=1))


async def held(stores: Stores) -> Job:
    await stores.submit()
    return await stores.claim(ALREADY_OVER)


async def test_a_queued_one_ends(stores: Stores) -> None:
    job = await stores.submit()
    cancelled = await stores.jobs.cancel(job.id, "bob")
    assert (cancelled.state, cancelled.seq, cancelled.cancel_requested) == (State.CANCELLED, 2, True)
    assert cancelled.error == JobError(ErrorKind.CANCELLED, "cancelled on request")
    assert (cancelled.history[-1].by, cancelled.ended_at) == ("bob", cancelled.updated_at)
    assert await stores.told(job) == ["queued", "cancelled"]


async def test_one_that_waits_for_its_time_ends(stores: Stores) -> None:
    job = await stores.submit(not_before=datetime.now(UTC) + timedelta(hours=1))
    assert (await stores.jobs.cancel(job.id, "ada")).state is State.CANCELLED


async def test_a_held_one_gets_a_wish_which_is_no_change_of_state(stores: Stores) -> None:
    job = await held(stores)
    for _ in range(2):
        wished = await stores.jobs.cancel(job.id, "ada")
        assert (wished.state, wished.seq, wished.cancel_requested) == (State.RUNNING, 2, True)
        assert wished.updated_at >= job.updated_at
    assert await stores.story(job) == ["queued", "running"]


@pytest.mark.parametrize("end", [done(), failed()], ids=["done", "failed"])
async def test_one_that_is_over_is_refused(stores: Stores, end: Finish) -> None:
    job = await held(stores)
    await stores.finish(job, end)
    before = await stores.stored(job)
    with pytest.raises(ConflictError, match=f"{end.state} already") as refusal:
        await stores.jobs.cancel(job.id, "ada")
    assert refusal.value.status == 409
    assert await stores.stored(job) == before


async def test_an_unknown_one_is_not_found(stores: Stores) -> None:
    with pytest.raises(NotFoundError):
        await stores.jobs.cancel("unknown", "ada")
    with pytest.raises(NotFoundError):
        await stores.jobs.reopen("unknown", "ada")
    with pytest.raises(NotFoundError):
        await stores.jobs.get("unknown")


async def test_one_of_somebody_else_looks_unknown(stores: Stores) -> None:
    job = await stores.submit(owner="ada")
    assert await stores.jobs.get(job.id, Scope(owner="ada"))
    for read in (stores.jobs.get, stores.jobs.with_history):
        with pytest.raises(NotFoundError):
            await read(job.id, Scope(owner="bob"))


@pytest.mark.parametrize(
    ("end", "state", "kind"),
    [
        (end_done, State.DONE, None),
        (end_retry, State.CANCELLED, ErrorKind.CANCELLED),
        (end_lost, State.CANCELLED, ErrorKind.CANCELLED),
    ],
)
async def test_a_wish_before_the_end_of_the_attempt(
    stores: Stores, end: Ending, state: State, kind: ErrorKind | None
) -> None:
    job = await held(stores)
    await stores.jobs.cancel(job.id, "ada")
    assert await end(stores, job)
    ended = await stores.jobs.get(job.id)
    assert (ended.state, ended.error.kind if ended.error else None) == (state, kind)
    await assert_ended_once(stores, job)


@pytest.mark.parametrize("end", [end_retry, end_lost])
async def test_a_wish_after_the_attempt_was_taken_back(stores: Stores, end: Ending) -> None:
    job = await held(stores)
    assert await end(stores, job)
    assert (await stores.jobs.cancel(job.id, "ada")).state is State.CANCELLED
    await assert_ended_once(stores, job)


@pytest.mark.parametrize("end", [end_done, end_retry, end_lost])
async def test_a_second_end_after_any_other_is_refused(stores: Stores, end: Ending) -> None:
    job = await held(stores)
    await end(stores, job)
    assert not await stores.finish(job, done("late"))
    assert await stores.upkeep.lost_leases() == []


async def assert_ended_once(stores: Stores, job: Job) -> None:
    with pytest.raises(ConflictError):
        await stores.jobs.cancel(job.id, "ada")
    assert not await stores.finish(job, done("late"))
    story = await stores.story(job)
    assert [state for state in story if state in OVER] == story[-1:]


async def test_reopened_it_starts_a_new_series_with_nothing_of_the_last(stores: Stores) -> None:
    await stores.submit(not_before=datetime.now(UTC), retention_seconds=60)
    job = await stores.claim()
    await stores.claims.report(job.id, lease_of(job).token, Progress(0.5, "fitting", 3.0, "half way"))
    artifact = Artifact("plot.png", "file-1", "image/png", 12, "ab" * 32)
    await stores.finish(job, done(1, artifacts=(artifact,)))
    reopened = await stores.jobs.reopen(job.id, "bob")
    assert (reopened.state, reopened.seq, reopened.series, reopened.attempt) == (State.QUEUED, 4, 2, 0)
    assert (reopened.result, reopened.error, reopened.artifacts, reopened.progress) == (None, None, (), None)
    assert (reopened.stage, reopened.message, reopened.eta_seconds) == (None, None, None)
    assert (reopened.started_at, reopened.ended_at, reopened.not_before) == (None, None, None)
    change = reopened.history[-1]
    assert (change.series, change.by, change.stage, change.message) == (2, "bob", None, None)
    assert "expires_at" not in await stores.stored(job)
    assert await stores.told(job) == ["queued", "done", "queued"]
    assert (await stores.claim()).series == 2


async def test_reopened_a_cancelled_one_runs_again(stores: Stores) -> None:
    job = await stores.submit()
    await stores.jobs.cancel(job.id, "ada")
    assert not (await stores.jobs.reopen(job.id, "ada")).cancel_requested
    assert (await stores.claim()).state is State.RUNNING


async def test_one_that_is_not_over_is_not_reopened(stores: Stores) -> None:
    job = await held(stores)
    with pytest.raises(ConflictError, match="the job is running"):
        await stores.jobs.reopen(job.id, "ada")
    assert await stores.story(job) == ["queued", "running"]


async def test_of_two_that_reopen_one_does(stores: Stores) -> None:
    job = await held(stores)
    await stores.finish(job, done())
    await stores.jobs.reopen(job.id, "ada")
    with pytest.raises(ConflictError):
        await stores.jobs.reopen(job.id, "bob")


async def test_a_change_that_was_made_is_not_made_again_however_late_it_is_repeated(stores: Stores) -> None:
    job = await held(stores)
    await stores.finish(job, done())
    plan, where = reopening("ada"), {"_id": job.id, "state": {"$in": list(OVER)}}
    assert await apply_change(stores.collection, where, plan)
    await stores.jobs.cancel(job.id, "ada")
    assert await apply_change(stores.collection, where, plan) is None
    assert (await stores.jobs.get(job.id)).series == 2


async def test_a_series_ends_once_and_so_does_the_next(stores: Stores) -> None:
    for series in (1, 2):
        job = await held(stores) if series == 1 else await stores.claim(ALREADY_OVER)
        assert await stores.finish(job, done(series))
        await assert_ended_once_in(stores, job, series)
        if series == 1:
            await stores.jobs.reopen(job.id, "ada")


async def assert_ended_once_in(stores: Stores, job: Job, series: int) -> None:
    history = (await stores.stored(job))["history"]
    assert [entry["state"] for entry in history if entry["series"] == series and entry["state"] in OVER] == ["done"]


async def test_who_cancelled_an_earlier_series_does_not_count_in_the_next(stores: Stores) -> None:
    job = await stores.submit(start_before=datetime.now(UTC) + timedelta(hours=1))
    await stores.claim()
    await stores.jobs.cancel(job.id, "ada")
    held = await stores.jobs.get(job.id)
    assert held.lease
    assert await stores.claims.finish(job.id, held.lease.token, Finish(State.CANCELLED), "worker-1")
    await stores.jobs.reopen(job.id, "ada")
    await stores.jobs.cancel(job.id, "bob")
    history = (await stores.jobs.with_history(job.id)).history
    assert [change.by for change in history if change.state is State.CANCELLED] == ["ada", "bob"]


async def test_a_job_that_came_too_late_may_be_run_again(stores: Stores) -> None:
    job = await stores.submit(start_before=datetime.now(UTC) - timedelta(hours=1))
    assert await stores.upkeep.expire_unstarted() == [job.id]
    await stores.jobs.reopen(job.id, "ada")
    assert await stores.upkeep.expire_unstarted() == []
    assert (await stores.claim()).state is State.RUNNING
