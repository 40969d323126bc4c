"""What time alone asks for: work that becomes due or too late, leases that ran out, jobs that are no longer kept."""

from datetime import UTC, datetime, timedelta

import pytest

from heliograph.errors import ConflictError
from heliograph.jobs.model import Artifact
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.upkeep import Expired
from heliograph.notices.indexes import DELIVERIES
from tests.parts.jobs import ALREADY_OVER, QUEUE, WORKER, Stores, done, lease_of
from tests.parts.waiting import until

HOUR = timedelta(hours=1)


async def test_a_job_becomes_due_when_its_time_comes(stores: Stores) -> None:
    job = await stores.submit(not_before=datetime.now(UTC) + HOUR)
    assert await stores.upkeep.make_due() == 0
    assert await stores.claims.claim([QUEUE], WORKER) is None
    await stores.collection.update_one({"_id": job.id}, {"$set": {"not_before": datetime.now(UTC)}})
    await until(stores.upkeep.make_due)
    assert (await stores.claim()).id == job.id


async def test_one_that_was_not_begun_in_time_ends_and_no_other(stores: Stores) -> None:
    late = await stores.submit(start_before=datetime.now(UTC) - HOUR)
    waiting_late = await stores.submit(start_before=datetime.now(UTC) - HOUR, not_before=datetime.now(UTC) + HOUR)
    for fields in ({}, {"start_before": datetime.now(UTC) + HOUR}):
        await stores.submit(**fields)
    assert sorted(await stores.upkeep.expire_unstarted()) == [late.id, waiting_late.id]
    assert await stores.upkeep.expire_unstarted() == []
    job = await stores.jobs.get(late.id)
    assert (job.state, job.error.kind if job.error else None) == (State.CANCELLED, ErrorKind.EXPIRED)
    assert await stores.told(job) == ["queued", "cancelled"]


async def test_one_that_was_begun_in_time_goes_on(stores: Stores) -> None:
    await stores.submit(start_before=datetime.now(UTC) + HOUR)
    begun = await stores.claim()
    await stores.collection.update_one({"_id": begun.id}, {"$set": {"start_before": datetime.now(UTC) - HOUR}})
    assert await stores.upkeep.expire_unstarted() == []


async def test_a_lost_one_is_queued_again(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim(ALREADY_OVER)
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, HOUR)
    job = await stores.jobs.get(claimed.id)
    assert (job.state, job.attempt, job.lease) == (State.QUEUED, 1, None)
    assert job.error is not None
    assert job.error.kind is ErrorKind.LOST
    assert await stores.story(job) == ["queued", "running", "queued"]
    assert await stores.told(job) == ["queued"]
    assert (await stores.claim()).attempt == 2


async def test_out_of_attempts_it_fails(stores: Stores) -> None:
    await stores.submit(max_attempts=1)
    claimed = await stores.claim(ALREADY_OVER)
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, HOUR)
    job = await stores.jobs.get(claimed.id)
    assert (job.state, job.error.kind if job.error else None) == (State.FAILED, ErrorKind.LOST)
    assert await stores.told(job) == ["queued", "failed"]


async def test_a_lease_that_runs_is_not_lost(stores: Stores) -> None:
    await stores.submit()
    await stores.claim()
    assert await stores.upkeep.lost_leases() == []


async def test_nothing_is_lost_before_its_holder_had_a_lease_s_length_to_renew(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim(timedelta(seconds=30))
    await stores.collection.update_one({"_id": claimed.id}, {"$set": {"lease.until": datetime.now(UTC) - HOUR}})
    assert await stores.upkeep.lost_leases(timedelta(seconds=29)) == []
    [lost] = await stores.upkeep.lost_leases()
    assert not await stores.upkeep.take_back(lost, timedelta(seconds=29))
    assert await stores.upkeep.take_back(lost, timedelta(seconds=30))


async def test_one_that_was_renewed_meanwhile_stays_with_its_holder(stores: Stores) -> None:
    await stores.submit()
    claimed = await stores.claim(ALREADY_OVER)
    [lost] = await stores.upkeep.lost_leases()
    await stores.collection.update_one({"_id": claimed.id}, {"$set": {"lease.ms": 30_000}})
    await stores.claims.renew({claimed.id: lease_of(claimed).token})
    assert not await stores.upkeep.take_back(lost, HOUR)


async def test_one_that_somebody_else_holds_meanwhile_stays_with_them(stores: Stores) -> None:
    await stores.submit()
    await stores.claim(ALREADY_OVER)
    [lost] = await stores.upkeep.lost_leases()
    assert await stores.upkeep.take_back(lost, HOUR)
    again = await stores.claim(ALREADY_OVER)
    assert not await stores.upkeep.take_back(lost, HOUR)
    assert (await stores.jobs.get(again.id)).state is State.RUNNING


async def over_and_told(stores: Stores, **fields: object) -> str:
    await stores.submit(**fields)
    job = await stores.claim()
    await stores.finish(job, done(artifacts=(Artifact("plot.png", "file-1", "image/png", 1, ""),)))
    await stores.collection.update_one({"_id": job.id}, {"$set": {"outbox": [], "notices_due": []}})
    return job.id


async def expired(stores: Stores) -> list[Expired]:
    return [one async for one in stores.upkeep.expired()]


async def long_ago(stores: Stores, job: str) -> None:
    await stores.collection.update_one({"_id": job}, {"$set": {"expires_at": datetime.now(UTC) - HOUR}})


async def test_a_job_expires_when_its_time_of_keeping_is_over(stores: Stores) -> None:
    job = await over_and_told(stores, retention_seconds=60, inputs=("upload-1",))
    stored = await stores.stored(job)
    assert stored["expires_at"] == stored["ended_at"] + timedelta(seconds=60)
    assert await expired(stores) == []
    await long_ago(stores, job)
    assert await expired(stores) == [Expired(job, ("file-1",))]


async def test_one_without_a_time_of_keeping_stays(stores: Stores) -> None:
    assert "expires_at" not in await stores.stored(await over_and_told(stores))


@pytest.mark.parametrize("left", ["outbox", "notices_due"])
async def test_one_that_has_something_to_tell_stays(stores: Stores, left: str) -> None:
    job = await over_and_told(stores, retention_seconds=60)
    await long_ago(stores, job)
    await stores.collection.update_one({"_id": job}, {"$set": {left: [{"seq": 3, "at": datetime.now(UTC)}]}})
    assert await expired(stores) == []


async def test_one_that_is_being_removed_is_not_reopened(stores: Stores) -> None:
    job = await over_and_told(stores, retention_seconds=60)
    await long_ago(stores, job)
    await expired(stores)
    with pytest.raises(ConflictError, match="being removed"):
        await stores.jobs.reopen(job, "ada")


async def test_a_reopened_one_is_not_removed(stores: Stores) -> None:
    job = await over_and_told(stores, retention_seconds=60)
    await long_ago(stores, job)
    await stores.jobs.reopen(job, "ada")
    assert await expired(stores) == []
    await stores.upkeep.remove(job)
    assert await stores.stored(job)


async def test_a_removal_that_broke_off_is_found_again(stores: Stores) -> None:
    job = await over_and_told(stores, retention_seconds=60)
    await long_ago(stores, job)
    await stores.logs.append(job, 1, 1, "token", 0, b"text")
    assert await expired(stores) == await expired(stores) != []
    await stores.upkeep.remove(job)
    assert await stores.collection.count_documents({}) == 0
    assert [chunk async for chunk in stores.logs.read(job, 1, 1)] == []


async def test_an_artifact_is_unlisted_where_its_job_is_over_or_gone_and_does_not_list_it(stores: Stores) -> None:
    over = await over_and_told(stores)
    running = (await stores.submit()).id
    files = [("file-1", over), ("file-2", over), ("file-3", running), ("file-4", "gone"), ("file-5", None)]
    assert await stores.upkeep.unlisted_artifacts(files) == ["file-2", "file-4", "file-5"]


async def test_an_upload_is_unlisted_where_no_job_uses_it(stores: Stores) -> None:
    await stores.submit(inputs=("upload-1", "upload-2"))
    assert await stores.upkeep.unlisted_inputs(["upload-2", "upload-3"]) == ["upload-3"]


@pytest.mark.parametrize(("status", "is_purged"), [("planned", False), ("sending", False), ("sent", True)])
async def test_a_job_of_which_somebody_is_still_to_be_told_is_kept(
    stores: Stores, status: str, is_purged: bool
) -> None:
    await stores.submit(retention_seconds=1)
    job = await stores.claim()
    await stores.finish(job, done())
    past = {"outbox": [], "notices_due": [], "expires_at": datetime.now(UTC) - HOUR}
    await stores.collection.update_one({"_id": job.id}, {"$set": past})
    await stores.database.collection(DELIVERIES).insert_one(
        {"_id": job.id, "subject": f"job:{job.id}", "status": status}
    )
    assert bool([one async for one in stores.upkeep.expired()]) is is_purged
