"""The database dies in the midst of a batch: what was answered 201 is there, what was answered 503 can be repeated."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from heliograph_standalone.mongod import Mongod
from tests.parts.api import SUM, Api, open_api
from tests.parts.waiting import until

JOBS = [SUM | {"name": str(number)} for number in range(1000)]
A_FEW_SECONDS = 20.0


async def test_no_answer_of_an_interrupted_batch_is_false(tmp_path: Path) -> None:
    with Mongod(tmp_path) as mongod:
        async with open_api(mongod.url) as api:
            began = time.monotonic()
            sending = asyncio.create_task(send(api))
            await until(api.stored)
            await asyncio.to_thread(mongod.kill)
            items = await sending
            assert time.monotonic() - began < A_FEW_SECONDS
            assert {item["status"] for item in items} == {201, 503}
            await asyncio.to_thread(mongod.start)
            await until(lambda: is_ready(api))
            taken = [item["job"]["id"] for item in items if item["status"] == httpx.codes.CREATED]
            assert await api.stored(_id={"$in": taken}) == len(taken)
            repeated = await send(api)
            assert {item["status"] for item in repeated} == {200, 201}
            assert await api.stored() == len(JOBS)
            assert {item["job"]["id"] for item in repeated} >= set(taken)


async def send(api: Api) -> list[dict[str, Any]]:
    answer = await api.ada.post("/v1/jobs/batch", json={"jobs": JOBS}, headers={"Idempotency-Key": "interrupted"})
    return list(answer.json()["items"])


async def is_ready(api: Api) -> bool:
    return (await api.ada.get("/readyz")).status_code == httpx.codes.OK
