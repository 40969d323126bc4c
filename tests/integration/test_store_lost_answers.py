"""The answer to a write is lost on the way, after the server made it: it is applied exactly once all the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

import pytest

from heliograph.ids import new_token
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentClaims, KnownRequest
from heliograph.jobs.store.agents import request_word
from heliograph.jobs.store.claims import Progress
from heliograph.storage import Database, StoreUnavailableError
from tests.parts.jobs import ALREADY_OVER, QUEUE, WORKER, Stores, done, failed, lease_of, new_job
from tests.parts.waiting import until


class Line:
    """A line to a mongod that breaks after a request holding ``word`` was answered, before the answer is through."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._armed: tuple[bytes, int] | None = None
        self.losses = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        # Monitored by polling: each request has one answer.
        self.url = f"mongodb://127.0.0.1:{port}/?directConnection=true&serverMonitoringMode=poll"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        for writer in self._writers:
            writer.close()

    def lose(self, word: str, times: int = 1) -> None:
        """Lose the answers to the next requests that hold ``word``."""
        self._armed = (word.encode(), times)
        self.losses = 0

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        self._writers |= {writer, server_writer}
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _message(reader)
                server_writer.write(request)
                answer = await _message(server_reader)
                if self._armed and self._armed[0] in request:
                    word, left = self._armed
                    self._armed = (word, left - 1) if left > 1 else None
                    self.losses += 1
                    break
                writer.write(answer)
        for end in (writer, server_writer):
            end.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "little") - 4)


@pytest.fixture
async def line(mongodb_url: str) -> AsyncIterator[Line]:
    async with Line(mongodb_url) as opened:
        yield opened


@pytest.fixture
async def far(line: Line, stores: Stores, database_name: str) -> AsyncIterator[Stores]:
    """The stores as a process sees them that reaches the database over the line."""
    async with Database(line.url, database_name) as database:
        await database.wait_connected()
        yield Stores.of(database)


async def assert_story(stores: Stores, job: Job | str, *states: str) -> None:
    document = await stores.stored(job)
    numbered = list(enumerate(states, start=1))
    assert [(entry["seq"], entry["state"]) for entry in document["history"]] == numbered
    assert [(entry["seq"], entry["state"]) for entry in document["outbox"]] == numbered
    ids = [entry["id"] for entry in document["outbox"]]
    assert len(set(ids)) == len(ids)


async def test_an_insert(line: Line, far: Stores, stores: Stores) -> None:
    line.lose("insert")
    jobs = await asyncio.gather(*(far.submit() for _ in range(20)))
    assert line.losses == 1
    assert await stores.collection.count_documents({}) == 20
    for job in jobs:
        await assert_story(stores, job, "queued")


async def test_an_insert_among_known_ones(line: Line, far: Stores, stores: Stores) -> None:
    known = await stores.submit(idempotency=("known", "digest"))
    line.lose("insert")
    first, again, twin, other = await asyncio.gather(
        far.jobs.insert(new_job(idempotency=("new", "digest"))),
        far.jobs.insert(new_job(idempotency=("known", "digest"))),
        far.jobs.insert(new_job(idempotency=("new", "digest"))),
        far.jobs.insert(new_job()),
    )
    assert line.losses == 1
    assert isinstance(first, Job)
    assert isinstance(again, KnownRequest)
    assert isinstance(twin, KnownRequest)
    assert isinstance(other, Job)
    assert (again.job.id, twin.job.id) == (known.id, first.id)
    assert await stores.collection.count_documents({}) == 3


async def test_an_insert_whose_answer_is_lost_again_and_again_is_refused(line: Line, far: Stores) -> None:
    line.lose("insert", times=99)
    with pytest.raises(StoreUnavailableError):
        await far.submit()


async def test_a_claim(line: Line, far: Stores, stores: Stores) -> None:
    first = await stores.submit()
    second = await stores.submit()
    line.lose("findAndModify")
    assert (await far.claim()).id == first.id
    assert line.losses == 1
    await assert_story(stores, first, "queued", "running")
    await assert_story(stores, second, "queued")


async def test_a_claim_that_ended_a_job(line: Line, far: Stores, stores: Stores) -> None:
    first = await stores.submit()
    await stores.collection.update_one({"_id": first.id}, {"$set": {"cancel_requested": True}})
    second = await stores.submit()
    line.lose("findAndModify")
    assert (await far.claim()).id == second.id
    await assert_story(stores, first, "queued", "cancelled")
    await assert_story(stores, second, "queued", "running")
    ids = [entry["id"] for job in (first, second) for entry in (await stores.stored(job))["outbox"]]
    assert len(set(ids)) == 4  # events are taken out by these


async def test_a_claim_of_several(line: Line, far: Stores, stores: Stores) -> None:
    jobs = [await stores.submit() for _ in range(4)]
    await stores.collection.update_one({"_id": jobs[0].id}, {"$set": {"cancel_requested": True}})
    line.lose("update")
    words = {request_word("a claim", number): new_token() for number in range(3)}
    taken = await AgentClaims(far.database).take(QUEUE, WORKER, None, words, is_last=True)
    assert line.losses == 1
    assert {job.id for job in taken.jobs.values()} == {job.id for job in jobs[1:3]}
    await assert_story(stores, jobs[0], "queued", "cancelled")
    for job in jobs[1:3]:
        await assert_story(stores, job, "queued", "claimed")
    await assert_story(stores, jobs[3], "queued")


async def test_a_finish(line: Line, far: Stores, stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim()
    line.lose("update")
    assert await far.finish(job, done(1))
    assert line.losses == 1
    await assert_story(stores, job, "queued", "running", "done")


async def test_a_batch_of_finishes_and_reports(line: Line, far: Stores, stores: Stores) -> None:
    for _ in range(6):
        await stores.submit()
    held = [await stores.claim() for _ in range(6)]
    line.lose(held[1].id)  # the first travels alone, the others gather behind it
    finishes = (far.finish(job, done(1)) for job in held[:4])
    fenced = far.claims.finish(held[4].id, "stale", done(1), WORKER)
    report = far.claims.report(held[5].id, lease_of(held[5]).token, Progress(0.5))
    assert await asyncio.gather(*finishes, fenced, report) == [True, True, True, True, False, True]
    for job in held[:4]:
        await assert_story(stores, job, "queued", "running", "done")
    await assert_story(stores, held[4], "queued", "running")


async def test_a_finish_that_another_claim_has_followed(line: Line, far: Stores, stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim()
    finish = failed(retry_after=timedelta(0))
    line.lose("update", times=2)
    with pytest.raises(StoreUnavailableError):
        await far.finish(job, finish)
    assert (await stores.claim()).id == job.id
    assert await far.finish(job, finish)
    await assert_story(stores, job, "queued", "running", "queued", "running")


async def test_a_cancellation(line: Line, far: Stores, stores: Stores) -> None:
    job = await stores.submit()
    line.lose("findAndModify")
    assert (await far.jobs.cancel(job.id, "ada")).state is State.CANCELLED
    assert line.losses == 1
    await assert_story(stores, job, "queued", "cancelled")


async def test_a_reopening(line: Line, far: Stores, stores: Stores) -> None:
    job = await stores.submit()
    await stores.jobs.cancel(job.id, "ada")
    line.lose("findAndModify")
    assert (await far.jobs.reopen(job.id, "ada")).series == 2
    assert line.losses == 1
    await assert_story(stores, job, "queued", "cancelled", "queued")


async def test_a_lost_lease_taken_back(line: Line, far: Stores, stores: Stores) -> None:
    job = await stores.submit()
    await stores.claim(ALREADY_OVER)
    [lost] = await far.upkeep.lost_leases()
    line.lose("findAndModify")
    assert await far.upkeep.take_back(lost, timedelta(hours=1))
    await assert_story(stores, job, "queued", "running", "queued")


async def test_claims_of_several_whose_answers_never_came_are_found_again(
    line: Line, far: Stores, stores: Stores
) -> None:
    submitted = {(await stores.submit(max_attempts=1)).id for _ in range(8)}
    line.lose("update", times=2)  # as often as it is tried
    with pytest.raises(StoreUnavailableError):
        await far.claims.claim_several([QUEUE], WORKER, most=8)
    ours = await far.claims.recover()
    assert {job.id for job in ours} == submitted
    assert all([await far.finish(job, done()) for job in ours])
    assert await far.claims.recover() == []


async def test_everything_at_once_over_a_bad_line(line: Line, far: Stores, stores: Stores) -> None:
    jobs = await asyncio.gather(*(stores.submit() for _ in range(30)))
    losses = []

    async def spoil() -> None:
        for word in ("findAndModify", "update", "update", "update"):
            line.lose(word)
            await until(lambda: line.losses)
            losses.append(word)

    async def work() -> None:
        while (job := await far.claims.claim([QUEUE], WORKER)) or not spoiler.done():
            if job is None:  # something to lose the answers to
                jobs.append(await stores.submit())
                continue
            finish, is_told = done(job.id), False
            while not is_told:  # as a worker does
                with contextlib.suppress(StoreUnavailableError):
                    is_told = await far.finish(job, finish)
                    assert is_told

    spoiler = asyncio.create_task(spoil())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work())
    finally:
        spoiler.cancel()
    assert len(losses) == 4
    assert len(jobs) >= 30
    for job in jobs:
        await assert_story(stores, job, "queued", "running", "done")
