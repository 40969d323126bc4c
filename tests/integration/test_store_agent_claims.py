"""Several jobs that are handed to an agent at once: by rank, each to one only, whatever becomes of them meanwhile."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from heliograph.ids import new_token
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentClaims, AgentStore
from heliograph.jobs.store.agent_claims import Take
from heliograph.jobs.store.agents import rank, request_word
from tests.parts.jobs import QUEUE, Stores, lease_of, new_job

MINUTE = timedelta(minutes=1)
REQUEST = "a claim"
WORDS = [request_word(REQUEST, number) for number in range(10)]
OTHER_WORDS = [request_word("another claim", number) for number in range(100)]


@pytest.fixture
def agent_claims(stores: Stores) -> AgentClaims:
    return AgentClaims(stores.database)


async def take(agent_claims: AgentClaims, *words: str, holder: str = "dome-1") -> Take:
    return await agent_claims.take(QUEUE, holder, MINUTE, {word: new_token() for word in words}, is_last=False)


async def fill(stores: Stores, *priorities: int) -> list[str]:
    """Submit a job of each of these priorities; return their ids by rank."""
    new = [new_job(priority=priority, timeout_seconds=60) for priority in priorities]
    await asyncio.gather(*(stores.jobs.insert(job) for job in new))
    return [job.id for job in sorted(new, key=lambda job: (-job.priority, job.id))]


async def test_the_first_are_taken_as_one_by_one(stores: Stores, agent_claims: AgentClaims) -> None:
    by_rank = await fill(stores, 0, 5, 0, 9, 5)
    taken = await take(agent_claims, *WORDS[:3])
    assert [taken.jobs[word].id for word in WORDS[:3]] == list(taken.changed) == by_rank[:3]
    assert (taken.doubled, taken.is_end) == ((), False)
    for job in taken.jobs.values():
        assert (job.state, job.attempt, job.started_at, lease_of(job).holder) == (State.CLAIMED, 1, None, "dome-1")
        assert lease_of(job).until == lease_of(job).deadline == job.updated_at + MINUTE
        assert await stores.story(job) == ["queued", "claimed"]
    assert await AgentStore(stores.database).claimed_under(REQUEST) == taken.jobs
    rest = await take(agent_claims, *OTHER_WORDS[:3])
    assert {word: job.id for word, job in rest.jobs.items()} == dict(zip(OTHER_WORDS, by_rank[3:], strict=False))
    assert rest.is_end
    assert await take(agent_claims, WORDS[5]) == Take({}, (), (), is_end=True)


async def test_what_is_no_longer_wanted_ends_and_leaves_its_word(stores: Stores, agent_claims: AgentClaims) -> None:
    wished, late, wanted = await fill(stores, 9, 5, 0)
    await stores.collection.update_one({"_id": wished}, {"$set": {"cancel_requested": True}})
    await stores.collection.update_one({"_id": late}, {"$set": {"start_before": datetime.now(UTC) - MINUTE}})
    taken = await take(agent_claims, *WORDS[:3])
    assert {word: job.id for word, job in taken.jobs.items()} == {WORDS[2]: wanted}
    assert (taken.changed, taken.doubled) == ((wished, late, wanted), ())
    for job in (wished, late):
        assert (await stores.jobs.get(job)).state is State.CANCELLED


async def test_those_who_look_at_the_same_time_share_what_there_is(stores: Stores, agent_claims: AgentClaims) -> None:
    """As the agents of several apis do, each with a turn of its own."""
    by_rank = await fill(stores, *range(60))

    async def drain(holder: str) -> list[str]:
        mine: list[str] = []
        is_end = False
        while not is_end:
            words = [request_word(f"{holder} {len(mine)}", number) for number in range(10)]
            taken = await take(agent_claims, *words, holder=holder)
            mine += [job.id for job in sorted(taken.jobs.values(), key=rank)]
            is_end = taken.is_end and not taken.jobs
        return mine

    drained = await asyncio.gather(*(drain(f"dome-{number}") for number in range(6)))
    assert Counter(job for mine in drained for job in mine) == Counter(by_rank)
    for mine in drained:
        assert mine == [job for job in by_rank if job in set(mine)], "what is urgent first"
    found = await stores.collection.distinct("attempt")
    assert found == [1]


async def test_under_one_word_one_job_is_held(stores: Stores, agent_claims: AgentClaims) -> None:
    """However often the claim is sent at the same time."""
    await fill(stores, *[0] * 30)
    taken = await asyncio.gather(*(take(agent_claims, *WORDS[:4]) for _ in range(5)))
    held = await AgentStore(stores.database).claimed_under(REQUEST)
    assert list(held) == WORDS[:4]
    assert {word: job for each in taken for word, job in each.jobs.items()} == held
    again = await take(agent_claims, *WORDS[:4])
    assert again == Take({}, (), tuple(WORDS[:4]), is_end=False)
    await fill(stores, 0)
    last = await take(agent_claims, WORDS[0], *OTHER_WORDS[:99])
    assert (len(last.jobs), last.doubled, last.is_end) == (26, (WORDS[0],), False)


async def test_one_that_cannot_be_changed_is_passed_over(stores: Stores, agent_claims: AgentClaims) -> None:
    broken, *others = await fill(stores, 9, 5, 3, 1)
    await stores.collection.update_one({"_id": broken}, {"$set": {"attempt": "none"}})
    first = await take(agent_claims, *WORDS[:3])
    assert [job.id for job in first.jobs.values()] == others[:2]
    assert not first.is_end
    rest = await take(agent_claims, *OTHER_WORDS[:3])
    assert [job.id for job in rest.jobs.values()] == others[2:]
    assert rest.is_end
    await stores.collection.update_one({"_id": broken}, {"$set": {"attempt": 0}})
    mended = await take(AgentClaims(stores.database), WORDS[5])  # later; here, another api
    assert [job.id for job in mended.jobs.values()] == [broken]
