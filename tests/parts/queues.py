"""Pull queues as a test uses them: declared by a manager, filled by Ada, emptied by agents with a queue's own token."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import bson
import httpx

from heliograph.ids import new_id
from heliograph.jobs.model import NewJob
from heliograph.jobs.store import UpkeepStore
from heliograph.jobs.store.documents import new_document
from tests.parts.api import Api
from tests.parts.waiting import until

MANAGER = "mia@example.org"
_INSERTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class PullQueue:
    """A queue of one test, with a client of its manager and one of its agents."""

    api: Api
    name: str
    manager: httpx.AsyncClient
    agents: httpx.AsyncClient

    @property
    def path(self) -> str:
        return f"/v1/queues/{quote(self.name, safe='')}"

    async def read(self) -> dict[str, Any]:
        return ok(await self.manager.get(self.path))

    async def submit(self, who: httpx.AsyncClient | None = None, **fields: Any) -> dict[str, Any]:
        answer = await (who or self.api.ada).post("/v1/jobs", json={"queue": self.name} | fields)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return dict(answer.json())

    async def fill(self, number: int) -> set[str]:
        """Store many jobs as submissions would; return their ids."""
        now = datetime.now(UTC)
        documents = [
            new_document(NewJob(id=new_id(), queue=self.name, owner="ada", parameters={"n": n}), now) | {"outbox": []}
            for n in range(number)
        ]
        for begin in range(0, number, _INSERTED_AT_ONCE):
            await self.api.jobs.insert_many(documents[begin : begin + _INSERTED_AT_ONCE])
        return {document["_id"] for document in documents}

    async def ask(self, *, key: str | None = None, agent: str = "dome-1", **fields: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.agents.post(f"{self.path}/claim", json={"agent": agent} | fields, headers=headers)

    async def claim(self, **fields: Any) -> list[dict[str, Any]]:
        return list(ok(await self.ask(**fields))["items"])

    async def claim_one(self, **fields: Any) -> tuple[str, str]:
        """Claim a job; return its id and the token of its lease."""
        [item] = await self.claim(**fields)
        return item["job"]["id"], item["lease_token"]

    async def tell(self, job: str, token: str, what: str = "report", **fields: Any) -> httpx.Response:
        return await self.agents.post(f"/v1/jobs/{job}/{what}", json={"lease_token": token} | fields)

    async def job(self, job: str) -> dict[str, Any]:
        return ok(await self.agents.get(f"/v1/jobs/{job}"))

    async def lose_lease(self, job: str) -> None:
        """Let the holder of a job be gone for longer than its lease, and let the reconciler see that."""
        past = {"lease.until": datetime.now(UTC) - timedelta(hours=1), "lease.ms": 1}
        await self.api.jobs.update_one({"_id": job, "lease.until": {"$type": "date"}}, {"$set": past})
        upkeep = UpkeepStore(self.api.database)
        for lost in await upkeep.lost_leases():
            await upkeep.take_back(lost, timedelta(hours=1))


async def open_queue(api: Api, name: str | None = None, **rules: Any) -> PullQueue:
    """Declare a queue, and issue a token for its agents."""
    name = name or f"queue {uuid.uuid4().hex[:8]}"
    manager = api.client(MANAGER, "queue manager")
    ok(await manager.put(f"/v1/queues/{quote(name, safe='')}", json=rules))
    token = ok(await manager.post("/v1/tokens", json={"queue": name, "description": "the agents of a test"}))["token"]
    return PullQueue(api, name, manager, api.bearer(token))


def ok(answer: httpx.Response) -> dict[str, Any]:
    """Return what a request was answered that must be taken."""
    assert answer.is_success, answer.text
    return dict(answer.json())


async def stored(api: Api, job: str) -> bytes:
    """Return a job's document to the byte, once what it has to tell is told: by who changed it, where none sweeps."""

    async def is_told() -> bool:
        return not (await api.jobs.find_one({"_id": job}))["outbox"]  # type: ignore[index]  # it is there

    await until(is_told)
    return bson.encode(await api.jobs.find_one({"_id": job}))  # type: ignore[arg-type]  # as above


async def story(api: Api, job: str) -> list[tuple[str, str]]:
    history = ok(await api.ada.get(f"/v1/jobs/{job}/history"))["items"]
    return [(each["state"], each["by"]) for each in history]
