"""The database dies in the midst of a batch: what was answered 201 is there, what was answered 503 can be repeated."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import httpx

from heliograph_standalone.mongod import Mongod
from tests.parts.api import SUM, Api, open_api
from tests.parts.waiting import until

JOBS = [SUM | {"name": str(number)} for number in range(1000)]
WRITTEN = 3  # writes of some of them each, before the one during which it dies


async def test_no_answer_of_an_interrupted_batch_is_false(tmp_path: Path) -> None:
    with Mongod(tmp_path) as mongod:
        async with open_api(mongod.url) as api:
            kill_in_the_midst(api, mongod)
            items = await send(api)
            assert {item["status"] for item in items} == {201, 503}
            await asyncio.to_thread(mongod.start)
            await until(lambda: is_ready(api))
            taken = [item["job"]["id"] for item in items if item["status"] == httpx.codes.CREATED]
            assert await api.stored(_id={"$in": taken}) == len(taken)
            repeated = await send(api)
            assert {item["status"] for item in repeated} == {200, 201}
            assert await api.stored() == len(JOBS)
            assert {item["job"]["id"] for item in repeated} >= set(taken)


def kill_in_the_midst(api: Api, mongod: Mongod) -> None:
    """Have the database die while a part of a batch is written, neither before the first nor after the last."""
    inserts = api.app.state.parts.intake._jobs._store._inserts
    write, numbers = inserts._write, itertools.count()
    dying: list[asyncio.Task[None]] = []

    async def write_and_die(documents: Any) -> Any:
        number = next(numbers)
        if number == WRITTEN:
            dying.append(asyncio.create_task(asyncio.to_thread(mongod.kill)))
        elif number > WRITTEN:
            await dying[0]
        return await write(documents)

    inserts._write = write_and_die


async def send(api: Api) -> list[dict[str, Any]]:
    answer = await api.ada.post("/v1/jobs/batch", json={"jobs": JOBS}, headers={"Idempotency-Key": "interrupted"})
    return list(answer.json()["items"])


async def is_ready(api: Api) -> bool:
    return (await api.ada.get("/readyz")).status_code == httpx.codes.OK
