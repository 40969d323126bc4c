"""Agents' claims that meet each other, a broken job, a pause or an outage: what is held is told, or given back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from heliograph.bus.memory import MemoryBus
from heliograph.jobs.limits import Limits
from heliograph.jobs.model import Job, Once
from heliograph.jobs.relay import Relay
from heliograph.jobs.states import State
from heliograph.jobs.store import AgentClaims, AgentStore, AnswerStore
from heliograph.jobs.store.agent_answers import ANSWERS
from heliograph.queues import claiming as module
from heliograph.queues.claiming import Claim, Claiming
from heliograph.queues.model import Declaration, Delivery
from heliograph.queues.store import QueueStore
from heliograph.storage import StoreUnavailableError
from tests.parts.jobs import QUEUE, Stores, new_job
from tests.parts.waiting import until

AGENT = "agents/dome-1"


class Site:
    """A queue without leases that hands out each job once at most, and the claims that one api serves."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.queues = QueueStore(stores.database)
        self.several = AgentClaims(stores.database)
        self.claiming = Claiming(
            self.queues,
            stores.claims,
            self.several,
            AgentStore(stores.database),
            AnswerStore(stores.database),
            Relay(stores.outbox, stores.followers, MemoryBus()),
        )

    async def fill(self, number: int) -> list[str]:
        new = [new_job(timeout_seconds=60) for _ in range(number)]
        await asyncio.gather(*(self.stores.jobs.insert(job) for job in new))
        return sorted(job.id for job in new)

    async def claim(
        self, most: int, key: str | None = None, wanted: Callable[[], Awaitable[bool]] | None = None
    ) -> list[str]:
        queue = await self.queues.get(QUEUE)
        jobs = await self.claiming.claim(Claim(QUEUE, "dome-1", most, None, key), queue, AGENT, wanted or _there)
        return ids(jobs)

    async def held(self) -> list[str]:
        found = self.stores.collection.find({"state": State.CLAIMED.value}, {"_id": 1}).sort("_id", 1)
        return [document["_id"] async for document in found]

    def break_off(self, monkeypatch: pytest.MonkeyPatch, look: int) -> None:
        """Let the line break after the jobs of this look at several are taken, and before they are read."""
        jobs = self.several._jobs
        looks = 0

        class Broken:
            def find(self, where: Any, *rest: Any) -> Any:
                nonlocal looks
                looks += "lease.token" in where
                if "lease.token" in where and looks == look:
                    raise StoreUnavailableError
                return jobs.find(where, *rest)

            def __getattr__(self, name: str) -> Any:
                return getattr(jobs, name)

        monkeypatch.setattr(self.several, "_jobs", Broken())


async def _there() -> bool:
    return True


def ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


@pytest.fixture
async def site(stores: Stores) -> Site:
    opened = Site(stores)
    declaration = Declaration(
        title="", parameters_schema=None, once=Once.NO, lease=None, delivery=Delivery.AT_MOST_ONCE, max_attempts=3,
        limits=Limits(), roles=(),
    )  # fmt: skip
    await opened.queues.declare(QUEUE, declaration, "mia")
    return opened


@pytest.mark.parametrize("most", [1, 5, 20])
@pytest.mark.parametrize("apis", [1, 2])
async def test_a_claim_repeated_while_it_is_served_gets_all_that_it_got(site: Site, apis: int, most: int) -> None:
    """The first is asked once more whether its agent is there at each moment of its work; then the repeat comes."""
    other = Site(site.stores) if apis == 2 else site
    for moment in range(4):
        jobs = await site.fill(2 * most)
        await site.stores.collection.update_one({"_id": jobs[0]}, {"$set": {"cancel_requested": True}})  # two looks
        repeats: list[asyncio.Task[list[str]]] = []
        moments = 0

        async def wanted(moment: int = moment, repeats: list[Any] = repeats) -> bool:
            nonlocal moments
            if moments == moment:
                repeats.append(asyncio.create_task(other.claim(most, f"night {moment}")))
                await asyncio.wait(repeats, timeout=0.005 * moment)
            moments += 1
            return True

        first = await site.claim(most, f"night {moment}", wanted)
        assert len(first) == most
        assert await asyncio.gather(*repeats) in ([], [first])
        assert await site.claim(most, f"night {moment}") == await other.claim(most, f"night {moment}") == first
        assert await site.held() == first
        await site.stores.collection.delete_many({})


async def test_the_repeat_comes_a_few_milliseconds_later(site: Site) -> None:
    other = Site(site.stores)
    for milliseconds in range(0, 24, 2):
        await site.fill(30)

        async def repeat(seconds: float = milliseconds / 1000) -> list[str]:
            await asyncio.sleep(seconds)
            return await other.claim(20, f"{seconds}")

        first, again = await asyncio.gather(site.claim(20, f"{milliseconds / 1000}"), repeat())
        assert first == again == await site.held()
        await site.stores.collection.delete_many({})


async def test_what_is_taken_after_a_repeat_was_answered_is_given_back(site: Site) -> None:
    """The repeat found three jobs; more come before the first goes on."""
    jobs = await site.fill(3)
    other = Site(site.stores)
    answers: list[list[str]] = []

    async def wanted() -> bool:
        if not answers:
            answers.append(await other.claim(10, "night"))
            await site.fill(5)
        return True

    assert await site.claim(10, "night", wanted) == answers[0] == jobs == await site.held()
    assert await site.stores.collection.count_documents({"state": State.QUEUED.value, "attempt": 0}) == 5
    assert site.claiming._relay.backlog >= 2
    assert await site.claim(10, "another night") != []


async def test_of_an_answer_that_is_forgotten_all_is_told_that_is_held(site: Site) -> None:
    """A day later, or where the api that served it had died before it answered."""
    jobs = await site.fill(4)
    assert await site.claim(3, "night") == jobs[:3]
    await site.stores.database.collection(ANSWERS).delete_many({})
    await site.stores.collection.delete_one({"_id": jobs[0]})
    assert await site.claim(1, "night") == jobs[1:] == await site.held()


async def test_after_its_jobs_are_over_a_key_may_be_used_again(site: Site) -> None:
    first = await site.fill(3)
    assert await site.claim(8, "daily") == first
    await site.stores.collection.delete_many({"_id": {"$in": first}})
    second = await site.fill(2)
    assert await site.claim(8, "daily") == second == await Site(site.stores).claim(8, "daily")


@pytest.mark.parametrize("look", [1, 2])
async def test_after_an_outage_amid_a_claim_without_a_key_nothing_stays_held(
    site: Site, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    jobs = await site.fill(20)
    await site.stores.collection.update_one({"_id": jobs[0]}, {"$set": {"cancel_requested": True}})
    site.break_off(monkeypatch, look)
    with pytest.raises(StoreUnavailableError):
        await site.claim(10)
    assert await site.held()
    await site.claiming.settle()
    assert await site.held() == []
    assert len(await site.claim(30)) == 19
    assert await site.stores.collection.distinct("attempt", {"state": State.CLAIMED.value}) == [1]
    await site.claiming.settle()
    assert len(await site.held()) == 19


@pytest.mark.parametrize("look", [1, 2])
async def test_after_an_outage_amid_a_claim_with_a_key_its_repeat_gets_all(
    site: Site, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    jobs = await site.fill(20)
    await site.stores.collection.update_one({"_id": jobs[0]}, {"$set": {"cancel_requested": True}})
    site.break_off(monkeypatch, look)
    with pytest.raises(StoreUnavailableError):
        await site.claim(10, "night")
    await site.claiming.settle()
    assert await site.claim(10, "night") == jobs[1:11] == await site.held()
    await site.claiming.settle()
    assert await site.held() == jobs[1:11]


async def test_what_an_outage_left_beside_the_answer_of_another_api_is_given_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await site.fill(3)
    other = Site(site.stores)
    answers: list[list[str]] = []

    async def wanted() -> bool:
        if not answers:
            answers.append(await other.claim(10, "night"))
            await site.fill(5)
        return True

    site.break_off(monkeypatch, 1)
    with pytest.raises(StoreUnavailableError):
        await site.claim(10, "night", wanted)
    assert len(await site.held()) > 3
    await site.claiming.settle()
    assert await site.held() == answers[0] == jobs


@pytest.mark.parametrize("most", [1, 5, 20])
async def test_one_job_that_cannot_be_handed_out_keeps_no_other_from_it(site: Site, most: int) -> None:
    broken, *others = await site.fill(2 * most + 1)
    await site.stores.collection.update_one({"_id": broken}, {"$set": {"attempt": "none"}})
    taken = await site.claim(most) + await site.claim(most, "night")
    assert sorted(taken) == others == await site.held()
    assert await site.claim(most) == []


async def test_a_pause_counts_for_who_waits_for_a_turn(site: Site) -> None:
    await site.fill(20)
    async with site.claiming._turns[QUEUE]:
        claim = asyncio.create_task(site.claim(20))
        await until(lambda: site.claiming._turns[QUEUE]._waiters)
        await site.queues.set_paused(QUEUE, paused=True)
    assert await claim == []


async def test_who_waits_for_a_turn_for_long_goes_without(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage holds up who has the turn; the others are not told one after the other."""
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.01)
    jobs = await site.fill(20)
    async with site.claiming._turns[QUEUE]:
        taken = await asyncio.gather(site.claim(10), site.claim(10))
    assert sorted(taken[0] + taken[1]) == jobs
    assert not site.claiming._turns[QUEUE].locked()
