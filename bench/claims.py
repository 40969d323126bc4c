"""How fast jobs are claimed, whatever waits beside them, and by how many agents over HTTP.

    python -m bench.claims        BENCH_BACKLOG, BENCH_CLAIMS set its size

The claims beside a backlog take turns with claims without one, on one MongoDB in this one run.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from bench.stack import Stack, stack
from heliograph.identity.tokens import Tokens
from heliograph.jobs.limits import Limits
from heliograph.jobs.store.documents import new_document
from heliograph.jobs.store.indexes import ensure_job_indexes
from heliograph.storage import Database
from tests.parts.jobs import WORKER, Stores, new_job

BACKLOG = int(os.environ.get("BENCH_BACKLOG", "50000"))
CLAIMS = int(os.environ.get("BENCH_CLAIMS", "200"))
HTTP_JOBS = 2_000
LIMITS = {"limited": Limits(per_owner=1)}
SECONDS = timedelta(minutes=10)
_INSERTED_AT_ONCE = 5_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as parts:
        asyncio.run(beside_a_backlog(parts))
        parts.start("api", ["-m", "heliograph_api"], "HELIOGRAPH_PORT", HELIOGRAPH_HOST="127.0.0.1")
        asyncio.run(over_http(parts))


async def beside_a_backlog(parts: Stack) -> None:
    """Claim from queues with 50,000 jobs that may not be claimed, and from queues without, in turn."""
    async with AsyncExitStack() as stack_:
        database = await stack_.enter_async_context(Database(parts.mongodb_url, "backlog"))
        await ensure_job_indexes(database)
        stores = Stores.of(database)
        later = datetime.now(UTC) + timedelta(days=1)
        await fill(stores, BACKLOG, queue="not due", not_before=later)
        await fill(stores, BACKLOG, queue="limited", owner="full", priority=1)
        held = await stores.claims.claim(["limited"], WORKER, SECONDS, limits=LIMITS)
        assert held
        times: dict[str, list[float]] = {name: [] for name in ("no backlog", "not due", "limited", "limited, alone")}
        for queue in ("no backlog", "not due"):
            await fill(stores, CLAIMS, queue=queue)
        for queue in ("limited", "limited, alone"):
            await asyncio.gather(*(stores.submit(queue=queue, owner=f"owner {n}") for n in range(CLAIMS)))
        limits = LIMITS | {"limited, alone": Limits(per_owner=1)}
        for _ in range(CLAIMS):
            for queue, each in times.items():
                began = time.perf_counter()
                job = await stores.claims.claim([queue], WORKER, SECONDS, limits=limits)
                each.append((time.perf_counter() - began) * 1000)
                assert job
                assert job.owner != "full"
        print(f"one claim, {BACKLOG} jobs beside that may not be claimed, {CLAIMS} of each in turn")
        for queue, each in times.items():
            print(
                f"  {queue:<16}{statistics.median(each):8.2f} ms median {sorted(each)[int(0.99 * CLAIMS)]:8.2f} ms p99"
            )
        await database.drop()


async def fill(stores: Stores, jobs: int, **fields: object) -> None:
    now = await stores.database.now()
    for begin in range(0, jobs, _INSERTED_AT_ONCE):
        some = [new_document(new_job(**fields), now) for _ in range(min(_INSERTED_AT_ONCE, jobs - begin))]
        await stores.collection.insert_many(some)


async def over_http(parts: Stack) -> None:
    """Empty a pull queue with one agent and with eight, one job and a hundred at a time."""
    token = Tokens([parts.key]).sign("bench", lifetime=timedelta(hours=1), roles=["admin"])
    headers = {"Authorization": f"Bearer {token}"}
    print(f"claims over HTTP, a queue of {HTTP_JOBS}")
    async with Database(parts.mongodb_url) as database, httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{parts.ports['api']}", headers=headers, timeout=60
    ) as http:  # fmt: skip
        stores = Stores.of(database)
        for agents, most in ((1, 1), (8, 1), (1, 100), (8, 100)):
            queue = f"{agents} by {most}"
            (await http.put(f"/v1/queues/{queue}", json={"lease_seconds": 600})).raise_for_status()
            await fill(stores, HTTP_JOBS, queue=queue)
            began = time.perf_counter()
            claimed = await asyncio.gather(*(empty(http, queue, f"agent {n}", most) for n in range(agents)))
            seconds = time.perf_counter() - began
            ids = [job for some in claimed for job in some]
            assert len(ids) == len(set(ids)) == HTTP_JOBS
            print(f"  {agents} agents, {most:>3} at a time {HTTP_JOBS / seconds:8.0f} jobs/s", flush=True)


async def empty(http: httpx.AsyncClient, queue: str, agent: str, most: int) -> Sequence[str]:
    claimed: list[str] = []
    while True:
        answer = await http.post(f"/v1/queues/{queue}/claim", json={"agent": agent, "max": most})
        items = answer.raise_for_status().json()["items"]
        if not items:
            return claimed
        claimed += [item["job"]["id"] for item in items]


if __name__ == "__main__":
    main()
