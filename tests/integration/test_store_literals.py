"""Words from outside stay words: what begins with ``$`` or holds a ``.`` is never read as a field or an operator."""

from dataclasses import replace
from datetime import timedelta

from heliograph.jobs.model import Artifact, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.claims import Finish, Progress
from heliograph.jobs.store.listing import Criteria
from tests.parts.jobs import QUEUE, Stores, done, lease_of

WORD = "$owner.name"
VALUE = {"$set": {"a.b": "$$ROOT", "$literal": ["$x"]}, "": {"$": WORD}}
ERROR = JobError(ErrorKind.TRANSIENT, WORD, "$$NOW")


async def test_in_what_was_submitted(stores: Stores) -> None:
    job = await stores.submit(
        owner=WORD, name=WORD, group=WORD, backend=WORD, handler=WORD, parameters=VALUE, notify=VALUE, inputs=(WORD,),
        idempotency=(WORD, WORD), identity=WORD,
    )  # fmt: skip
    assert await stores.jobs.with_history(job.id) == job
    assert (job.parameters, job.notify, job.name) == (VALUE, VALUE, WORD)
    assert (await stores.listing.page(Criteria(owner=WORD, group=WORD, name=WORD), limit=9)).jobs[0].id == job.id
    [outgoing] = await stores.outbox.read([job.id])
    assert (outgoing.events[0][1].data.name, outgoing.events[0][1].data.by) == (WORD, WORD)


async def test_in_a_claim(stores: Stores) -> None:
    await stores.submit(queue=WORD)
    job = await stores.claims.claim([WORD], WORD)
    assert job is not None
    assert (lease_of(job).holder, job.history[-1].by) == (WORD, WORD)


async def test_in_progress_and_in_the_changes_after_it(stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim()
    assert await stores.claims.report(job.id, lease_of(job).token, Progress(0.5, WORD, 9.0, WORD))
    running = await stores.jobs.get(job.id)
    assert (running.stage, running.message) == (WORD, WORD)
    assert await stores.finish(job, done())
    last = (await stores.jobs.with_history(job.id)).history[-1]
    assert (last.stage, last.message) == (None, WORD)


async def test_in_a_result(stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim()
    artifact = Artifact(WORD, WORD, WORD, 1, WORD)
    assert await stores.finish(job, done(VALUE, artifacts=(artifact,), message=WORD))
    ended = await stores.jobs.get(job.id)
    assert (ended.result, ended.artifacts, ended.message) == (VALUE, (artifact,), WORD)


async def test_in_an_error_that_is_retried(stores: Stores) -> None:
    await stores.submit()
    job = await stores.claim()
    assert await stores.claims.finish(
        job.id, lease_of(job).token, Finish(State.FAILED, error=ERROR, retry_after=timedelta(0), change=WORD), WORD
    )
    queued = await stores.jobs.with_history(job.id)
    assert (queued.state, queued.error) == (State.QUEUED, ERROR)
    assert (queued.history[-1].by, queued.history[-1].id) == (WORD, WORD)


async def test_in_a_wish_to_cancel_and_in_a_reopening(stores: Stores) -> None:
    job = await stores.submit()
    cancelled = await stores.jobs.cancel(job.id, WORD)
    assert cancelled.error == JobError(ErrorKind.CANCELLED, "cancelled on request")
    reopened = await stores.jobs.reopen(job.id, WORD)
    assert [change.by for change in reopened.history] == ["ada", WORD, WORD]
    assert replace(reopened, history=()) == await stores.jobs.get(job.id)


async def test_in_the_name_of_a_queue_that_is_claimed_from(stores: Stores) -> None:
    await stores.submit(queue=QUEUE)
    assert await stores.claims.claim(["$queue"], WORD) is None
