"""The least a service of this kind can do: one insert and one confirmed publish for each request.

A plain FastAPI endpoint on the same libraries, the same write concern, an exchange and a quorum queue of the same
kind, the same server settings. It checks a token and the shape of the body, as anybody would; it has no idempotency,
no schema of the backend's own, no history, and where it dies between insert and publish the event is lost.

    uvicorn bare_api:app   with MONGODB_URL, BUS_URL, SIGNING_KEY
"""

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import aio_pika
import jwt
import orjson
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel
from ulid import ULID


class Submission(BaseModel):
    backend: str
    parameters: dict[str, Any] = {}


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
        os.environ["MONGODB_URL"], w="majority", journal=True, retryWrites=False
    )
    app.state.jobs = client["bare"]["jobs"]
    connection = await aio_pika.connect_robust(os.environ["BUS_URL"])
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.declare_exchange("bare.events", "topic", durable=True)
    queue = await channel.declare_queue("bare.told", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(exchange, "job.*.*.told")
    app.state.exchange = exchange
    yield
    await connection.close()
    client.close()


app = FastAPI(lifespan=lifespan)
known: dict[str, str] = {}  # tokens verified before, as our api keeps them


async def caller(request: Request) -> str:  # async: FastAPI runs plain functions in a thread
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token in known:
        return known[token]
    try:
        known[token] = str(jwt.decode(token, os.environ["SIGNING_KEY"], algorithms=["HS256"])["sub"])
    except (KeyError, jwt.PyJWTError) as error:
        raise HTTPException(401) from error
    return known[token]


@app.post("/v1/jobs", status_code=201)
async def submit(submission: Submission, owner: Annotated[str, Depends(caller)], request: Request) -> Response:
    job: dict[str, Any] = {
        "_id": str(ULID()), "backend": submission.backend, "parameters": submission.parameters, "owner": owner,
        "state": "queued", "created_at": datetime.now(UTC),
    }  # fmt: skip
    await request.app.state.jobs.insert_one(job)
    event = {"id": job["_id"], "state": "queued", "backend": submission.backend, "owner": owner}
    await request.app.state.exchange.publish(
        aio_pika.Message(orjson.dumps(event), delivery_mode=aio_pika.DeliveryMode.PERSISTENT),
        f"job.queued.{submission.backend}.told",
    )
    return Response(orjson.dumps({**job, "id": job.pop("_id")}), 201, media_type="application/json")
