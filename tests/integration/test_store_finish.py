"""An attempt ends once, as its holder says, and as nobody else does."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from heliograph.errors import InvalidInputError
from heliograph.jobs.model import Artifact, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.storage import Collection, Update, writes
from tests.parts.jobs import TROUBLE, WORKER, Stores, done, failed, lease_of


async def test_done(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    artifact = Artifact("plot.png", "file-1", "image/png", 12, "ab" * 32)
    assert await stores.finish(claimed, done({"period": 11.2}, artifacts=(artifact,), message="found it"))
    job = await stores.jobs.with_history(claimed.id)
    assert (job.state, job.seq, job.result, job.error, job.progress) == (State.DONE, 3, {"period": 11.2}, None, 1.0)
    assert (job.artifacts, job.message, job.lease) == ((artifact,), "found it", None)
    assert job.ended_at == job.updated_at == job.history[-1].at
    assert [change.seq for change in job.history] == [1, 2, 3]
    assert await stores.told(job) == ["queued", "done"]


async def test_failed(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    assert await stores.finish(claimed, failed())
    job = await stores.jobs.get(claimed.id)
    assert (job.state, job.error, job.result, job.lease) == (State.FAILED, TROUBLE, None, None)
    assert await stores.told(job) == ["queued", "failed"]


async def test_cancelled_says_why_where_its_holder_does_not(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    assert await stores.finish(claimed, Finish(State.CANCELLED))
    job = await stores.jobs.get(claimed.id)
    assert job.error == JobError(ErrorKind.CANCELLED, "cancelled on request")
    assert await stores.told(job) == ["queued", "cancelled"]


async def test_nobody_is_told_of_an_end_where_the_submission_says_so(stores: Stores) -> None:
    await stores.submit(notify={"told": False})
    claimed = await stores.claim()
    await stores.finish(claimed, done())
    assert await stores.told(claimed) == []
    assert await stores.story(claimed) == ["queued", "running", "done"]


async def test_retry_at_once(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    await stores.claims.report(claimed.id, lease_of(claimed).token, Progress(0.7, "fitting", 3.0, "half way"))
    assert await stores.finish(claimed, failed(retry_after=timedelta(0)))
    job = await stores.jobs.get(claimed.id)
    assert (job.state, job.attempt, job.error, job.lease, job.ended_at) == (State.QUEUED, 1, TROUBLE, None, None)
    assert (job.progress, job.stage, job.eta_seconds) == (None, None, None)
    assert await stores.told(job) == ["queued"]  # the first; a retry's is plain
    assert (await stores.claim()).id == job.id


async def test_retry_later(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    assert await stores.finish(claimed, failed(retry_after=timedelta(seconds=60)))
    job = await stores.jobs.get(claimed.id)
    assert job.not_before == job.updated_at + timedelta(seconds=60)
    assert (await stores.stored(job))["due"] is False


async def test_retry_out_of_attempts_fails(stores: Stores) -> None:
    await stores.submit(max_attempts=2)
    for state in (State.QUEUED, State.FAILED):
        claimed = await stores.claim()
        assert await stores.finish(claimed, failed(retry_after=timedelta(0)))
        assert (await stores.jobs.get(claimed.id)).state is state
    assert (await stores.jobs.get(claimed.id)).error == TROUBLE
    assert await stores.told(claimed) == ["queued", "failed"]


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_handed_back_it_is_queued_as_if_it_had_not_been_claimed(stores: Stores, max_attempts: int) -> None:
    await stores.submit(max_attempts=max_attempts)
    for _ in range(max_attempts + 1):
        claimed = await stores.claim()
        await stores.claims.report(claimed.id, lease_of(claimed).token, Progress(0.7, "fitting"))
        assert await stores.finish(claimed, Finish(State.QUEUED, hands_back=True))
        job = await stores.jobs.get(claimed.id)
        assert (job.state, job.attempt, job.error, job.lease) == (State.QUEUED, 0, None, None)
        assert (job.progress, job.stage) == (None, None)
    assert (await stores.stored(job))["due"] is True
    assert await stores.told(job) == ["queued"]


async def test_handed_back_although_somebody_wished_to_cancel_it_is_cancelled(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    await stores.jobs.cancel(claimed.id, "ada")
    assert await stores.finish(claimed, Finish(State.QUEUED, hands_back=True))
    job = await stores.jobs.get(claimed.id)
    assert (job.state, job.attempt) == (State.CANCELLED, 1)
    assert job.error == JobError(ErrorKind.CANCELLED, "cancelled on request")
    assert await stores.told(job) == ["queued", "cancelled"]


async def test_a_job_that_is_over_is_at_no_stage_and_keeps_its_last_word(stores: Stores) -> None:
    for finish in (done(1), failed()):
        await stores.submit()
        claimed = await stores.claim()
        await stores.claims.report(claimed.id, lease_of(claimed).token, Progress(0.7, "fitting", message="half way"))
        await stores.finish(claimed, finish)
        job = await stores.jobs.get(claimed.id)
        assert (job.stage, job.message) == (None, "half way")


async def test_a_success_after_a_retry_leaves_no_error(stores: Stores) -> None:
    await stores.submit()
    await stores.finish(await stores.claim(), failed(retry_after=timedelta(0)))
    claimed = await stores.claim()
    await stores.finish(claimed, done(1))
    assert (await stores.jobs.get(claimed.id)).error is None


async def test_a_stale_token_is_fenced(stores: Stores) -> None:
    await stores.submit()
    first = await stores.claim()
    await stores.finish(first, failed(retry_after=timedelta(0)))
    second = await stores.claim()
    before = await stores.stored(first)
    assert not await stores.finish(first, done("from the first"))
    assert not await stores.claims.report(first.id, lease_of(first).token, Progress(0.5))
    assert await stores.stored(first) == before
    assert await stores.finish(second, done("from the second"))


async def test_repeated_under_its_id_it_holds_and_is_there_once(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    finish = done(1)
    assert await stores.finish(claimed, finish)
    before = await stores.stored(claimed)
    assert await stores.finish(claimed, finish)
    assert await stores.stored(claimed) == before


async def test_repeated_under_another_id_it_is_fenced(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    assert await stores.finish(claimed, done(1))
    assert not await stores.finish(claimed, done(1))


async def test_each_of_a_mixed_batch_has_its_own_outcome(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    async def counting(collection: Collection, updates: Sequence[Update]) -> list[bool | Exception]:
        batches.append(len(updates))
        return await writes.update_each(collection, updates)

    monkeypatch.setattr("heliograph.jobs.store.claims.update_each", counting)
    for _ in range(8):
        await stores.submit()
    held = [await stores.claim() for _ in range(8)]
    repeated = done("repeated")
    await stores.finish(held[2], repeated)
    batches.clear()

    async def finish(number: int, token: str, what: Finish) -> bool:
        return await stores.claims.finish(held[number].id, token, what, WORKER)

    tokens = [lease_of(job).token for job in held]
    outcomes = await asyncio.gather(
        stores.claims.report(held[0].id, tokens[0], Progress(0.1)),  # travels alone, the others gather behind it
        finish(1, tokens[1], done("good")),
        finish(2, tokens[2], repeated),
        finish(3, "stale", done("fenced")),
        finish(4, tokens[4], done("\ud800")),
        stores.claims.report(held[5].id, tokens[5], Progress(0.5, "good")),
        stores.claims.report(held[6].id, "stale", Progress(0.5, "fenced")),
        stores.claims.report(held[7].id, tokens[7], Progress(0.5, "\ud800")),
        return_exceptions=True,
    )
    assert outcomes[:4] == [True, True, True, False]
    assert outcomes[5:7] == [True, False]
    assert isinstance(outcomes[4], InvalidInputError)
    assert isinstance(outcomes[7], InvalidInputError)
    assert sum(batches) == 6
    assert len(batches) <= 2, batches
    assert (await stores.jobs.get(held[1].id)).result == "good"
    assert (await stores.jobs.get(held[2].id)).result == "repeated"
    assert [(await stores.jobs.get(held[number].id)).state for number in (3, 4)] == [State.RUNNING, State.RUNNING]
    assert [(await stores.jobs.get(held[number].id)).stage for number in (5, 6)] == ["good", None]


async def test_a_result_too_large_for_the_job_is_refused_alone_and_the_job_can_still_fail(stores: Stores) -> None:
    big = "x" * 9_000_000
    await stores.submit(parameters=big)
    await stores.submit(parameters="small")
    large, small = await stores.claim(), await stores.claim()
    outcomes = await asyncio.gather(
        stores.claims.report(small.id, lease_of(small).token, Progress(0.5)),
        stores.finish(large, done(big)), stores.finish(small, done("small")), return_exceptions=True,
    )  # fmt: skip
    assert outcomes[0] is outcomes[2] is True
    assert isinstance(outcomes[1], InvalidInputError)
    assert await stores.finish(large, failed())


async def test_progress_is_no_change_of_state(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    before = await stores.stored(claimed)
    assert await stores.claims.report(claimed.id, lease_of(claimed).token, Progress(0.5, "fitting", 60.0, "half way"))
    after = await stores.stored(claimed)
    assert (after.pop("progress"), after.pop("stage"), after.pop("eta_seconds")) == (0.5, "fitting", 60.0)
    assert after.pop("message") == "half way"
    assert after.pop("updated_at") >= before.pop("updated_at")
    assert after == before


async def test_progress_leaves_what_it_does_not_name(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim()
    await stores.claims.report(claimed.id, lease_of(claimed).token, Progress(0.5, "fitting"))
    assert await stores.claims.report(claimed.id, lease_of(claimed).token, Progress())
    job = await stores.jobs.get(claimed.id)
    assert (job.progress, job.stage) == (0.5, "fitting")


async def test_the_history_keeps_the_last_200_changes(stores: Stores) -> None:
    await stores.submit(max_attempts=1000)
    for _ in range(110):
        claimed = await stores.claim()
        await stores.finish(claimed, failed(retry_after=timedelta(0)))
    document = await stores.stored(claimed)
    assert [entry["seq"] for entry in document["history"]] == list(range(22, 222))
    assert len(document["outbox"]) == 221
