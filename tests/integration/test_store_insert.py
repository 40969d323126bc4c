"""A job is stored once, journaled, together with its first event; a bad neighbour harms nobody."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph.errors import InvalidInputError
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import KnownRequest
from heliograph.storage import DuplicateError, writes
from tests.parts.jobs import Stores, new_job


def nested(levels: int) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = [value]
    return value


async def test_what_is_returned_is_what_is_stored(stores: Stores) -> None:
    new = new_job(
        name="night 12", group="g1", priority=7, not_before=datetime.now(UTC), notify={"email": "ada@example.org"},
        timeout_seconds=2.5, handler="https://example.org/jobs", traceparent="00-1-2-01", inputs=("upload-1",),
    )  # fmt: skip
    job = await stores.jobs.insert(new)
    assert isinstance(job, Job)
    assert replace(job, history=()) == await stores.jobs.get(new.id)
    assert job == await stores.jobs.with_history(new.id)


async def test_a_new_job_carries_its_first_change_its_event_and_the_note_that_people_are_told(stores: Stores) -> None:
    job = await stores.submit()
    stored = await stores.stored(job)
    assert (job.state, job.seq, job.series, job.attempt) == (State.QUEUED, 1, 1, 0)
    assert [(change.seq, change.state, change.by) for change in job.history] == [(1, State.QUEUED, "ada")]
    assert [entry["id"] for entry in stored["outbox"]] == [job.history[0].id]
    assert await stores.told(job) == ["queued"]


async def test_nobody_is_told_where_the_submission_says_so(stores: Stores) -> None:
    job = await stores.submit(notify={"told": False})
    assert await stores.told(job) == []
    assert len((await stores.stored(job))["outbox"]) == 1


async def test_concurrent_submissions_share_round_trips(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    insert_each = writes.insert_each

    async def counting(collection: Any, documents: Any) -> Any:
        batches.append(len(documents))
        return await insert_each(collection, documents)

    monkeypatch.setattr("heliograph.jobs.store.jobs.insert_each", counting)
    jobs = await asyncio.gather(*(stores.submit() for _ in range(200)))
    assert sum(batches) == 200
    assert len(batches) <= 3, batches
    assert await stores.collection.count_documents({}) == len({job.id for job in jobs}) == 200


async def test_the_same_key_returns_the_first_job_and_the_digest_of_its_request(stores: Stores) -> None:
    first = await stores.submit(idempotency=("key", "digest"))
    again = await stores.jobs.insert(new_job(idempotency=("key", "another digest")))
    assert again == KnownRequest(replace(first, history=()), "digest")
    assert await stores.collection.count_documents({}) == 1


async def test_a_key_is_its_owners_alone(stores: Stores) -> None:
    await stores.submit(owner="ada", idempotency=("key", "digest"))
    assert isinstance(await stores.jobs.insert(new_job(owner="bob", idempotency=("key", "digest"))), Job)


async def test_of_two_with_one_key_in_one_batch_one_is_stored_and_both_get_it(stores: Stores) -> None:
    outcomes = await asyncio.gather(
        *(stores.jobs.insert(new_job(idempotency=("key", "digest"), name=name)) for name in ("one", "two"))
    )
    stored = [outcome for outcome in outcomes if isinstance(outcome, Job)]
    known = [outcome.job for outcome in outcomes if isinstance(outcome, KnownRequest)]
    assert [job.id for job in known] == [job.id for job in stored]
    assert await stores.collection.count_documents({}) == 1


async def test_a_taken_id_is_refused(stores: Stores) -> None:
    job = await stores.submit()
    with pytest.raises(DuplicateError):
        await stores.jobs.insert(new_job(id=job.id))


@pytest.mark.parametrize(
    "bad",
    [
        {"parameters": {"n": 2**64}},
        {"parameters": {"text": "\ud800"}},
        {"parameters": nested(300)},
        {"parameters": "x" * (writes.MOST_DOCUMENT_BYTES + 1)},
        {"notify": {"n": 2**63}},
        {"notify": {"text": "\ud800"}},
        {"notify": {"a\0b": 1}},
        {"notify": {"deep": nested(300)}},
        {"notify": {1: "a key that is no text"}},
        {"name": "\ud800"},
        {"priority": 2**63},
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_what_cannot_be_stored_is_refused_and_its_batch_is_not(stores: Stores, bad: dict[str, Any]) -> None:
    outcomes = await asyncio.gather(
        *(stores.jobs.insert(new_job(**(bad if number == 5 else {}))) for number in range(10)), return_exceptions=True
    )
    assert isinstance(outcomes.pop(5), InvalidInputError)
    assert all(isinstance(outcome, Job) for outcome in outcomes), outcomes
    assert await stores.collection.count_documents({}) == 9


async def test_one_that_only_the_server_refuses_fails_alone(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "MOST_LEVELS", 1000)  # let one through that makes the server refuse the whole batch
    outcomes = await asyncio.gather(
        *(stores.jobs.insert(new_job(**({"notify": {"deep": nested(300)}} if number == 5 else {})))
          for number in range(10)), return_exceptions=True,
    )  # fmt: skip
    assert isinstance(outcomes.pop(5), Exception)
    assert all(isinstance(outcome, Job) for outcome in outcomes), outcomes


async def test_one_whose_time_has_not_come_is_not_due(stores: Stores) -> None:
    now = datetime.now(UTC)
    assert (await stores.stored(await stores.submit(not_before=now + timedelta(hours=1))))["due"] is False
    assert (await stores.stored(await stores.submit(not_before=now)))["due"] is True
