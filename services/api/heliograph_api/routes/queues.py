"""Pull queues: declared, paused, removed, and emptied by agents.

A name may hold slashes, so that routes whose path goes on after the name stand before those that end with it.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from heliograph.admission.admission import checked_key
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store.counts import Count
from heliograph.queues.claiming import Claim
from heliograph.queues.model import Queue
from heliograph.wire import ClaimPage, ClaimRequest, QueueDeclaration, QueuePage, QueueView, job_json
from heliograph.wire.agents import LONGEST_WAIT_SECONDS
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.reading import body_of, read_model
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["queues"])


@router.get(
    "/queues", summary="List queues", response_model=QueuePage, responses=problems(401, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_queues(request: Request, caller: Caller) -> Response:
    """List every queue with its rules and what is in it; for a queue's own token, that one."""
    found = await parts_of(request).queues.all(caller)
    return json_response({"items": [_view(queue, count, caller) for queue, count in found], "next": None})


@router.post(
    "/queues/{name:path}/claim",
    summary="Claim jobs",
    response_model=ClaimPage,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
    openapi_extra=body_of(ClaimRequest),
)
async def claim(
    request: Request,
    caller: Caller,
    name: str,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="As `wait` in the body, which counts before it")
    ] = 0,
    idempotency_key: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """Hand out the next jobs, by priority, then age, each to one agent only; none where nothing waits.

    With an `Idempotency-Key` a repeat by the same agent gets the jobs that it still holds under that key, so that an
    answer lost on the way loses no job.
    """
    parts = parts_of(request)
    caller.require(Action.WORK)
    asked = await read_model(request, ClaimRequest)
    key = checked_key(idempotency_key, caller)
    lease = timedelta(seconds=asked.lease_seconds) if asked.lease_seconds else None
    wish = Claim(name, asked.agent, asked.max, lease, key)
    has_gone = False

    async def is_there() -> bool:
        nonlocal has_gone
        has_gone = has_gone or await request.is_disconnected()
        return not has_gone

    async def look() -> list[Job]:
        return await parts.agents.claim(wish, caller, is_there)

    seconds = wait if asked.wait is None else asked.wait
    jobs = await parts.waiting.until_queued(name, look, lambda jobs: bool(jobs) or has_gone, seconds)
    return json_response({"items": [_claimed(job) for job in jobs]})


@router.post(
    "/queues/{name:path}/pause", summary="Pause a queue", response_model=QueueView, responses=problems(401, 403, 404)
)
async def pause(request: Request, caller: Caller, name: str) -> Response:
    """Let nothing be claimed until it is resumed; what is held goes on, and what is submitted waits."""
    return json_response(_view(*await parts_of(request).queues.set_paused(name, caller, paused=True), caller))


@router.post(
    "/queues/{name:path}/resume", summary="Resume a queue", response_model=QueueView, responses=problems(401, 403, 404)
)
async def resume(request: Request, caller: Caller, name: str) -> Response:
    """Let jobs be claimed again."""
    return json_response(_view(*await parts_of(request).queues.set_paused(name, caller, paused=False), caller))


@router.put(
    "/queues/{name:path}",
    summary="Declare a queue",
    response_model=QueueView,
    responses=problems(400, 401, 403, 413, 422) | {201: {"model": QueueView, "description": "It is new"}},
    openapi_extra=body_of(QueueDeclaration),
)
async def declare(request: Request, caller: Caller, name: str) -> Response:
    """State the rules of a queue, all of them, in place of those that it had."""
    caller.require(Action.MANAGE_QUEUES)
    declaration = (await read_model(request, QueueDeclaration)).to_declaration()
    queues = parts_of(request).queues
    _, is_new = await queues.declare(name, declaration, caller)
    return json_response(_view(*await queues.get(name, caller), caller), 201 if is_new else 200)


@router.get("/queues/{name:path}", summary="Read a queue", response_model=QueueView, responses=problems(401, 404))
async def read_queue(request: Request, caller: Caller, name: str) -> Response:
    """Answer with a queue's rules and what is in it."""
    return json_response(_view(*await parts_of(request).queues.get(name, caller), caller))


@router.delete("/queues/{name:path}", summary="Remove a queue", status_code=204, responses=problems(401, 403, 404, 409))
async def remove(request: Request, caller: Caller, name: str) -> Response:
    """Forget a queue in which nothing waits or is held, and revoke its tokens; its jobs stay."""
    await parts_of(request).queues.remove(name, caller)
    return Response(status_code=204)


def _claimed(job: Job) -> dict[str, Any]:
    assert job.lease, "a claimed job has a lease"
    return {
        "job": job_json(job), "lease_token": job.lease.token, "lease_until": job.lease.until,
        "deadline": job.lease.deadline,
    }  # fmt: skip


def _view(queue: Queue, count: Count, caller: Identity) -> dict[str, Any]:
    waits_since = count.oldest_queued
    return {
        "name": queue.name, "title": queue.title, "parameters_schema": queue.parameters_schema, "once": queue.once,
        "lease_seconds": None if queue.lease is None else queue.lease.total_seconds(), "delivery": queue.delivery,
        "max_attempts": queue.max_attempts,
        "limits": {"total": queue.limits.total, "per_owner": queue.limits.per_owner}, "roles": queue.roles,
        "paused": queue.paused, "declared_at": queue.declared_at,
        "declared_by": queue.declared_by if caller.may(Action.MANAGE_QUEUES) else None,
        **{state.value: count.states.get(state, 0) for state in (State.QUEUED, State.CLAIMED, State.RUNNING)},
        "oldest_queued_seconds": (
            None if waits_since is None else max(0.0, (datetime.now(UTC) - waits_since).total_seconds())
        ),
    }  # fmt: skip
