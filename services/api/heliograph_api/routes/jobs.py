"""Jobs: submitted, listed, read, cancelled, run again."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity, scope
from heliograph.ids import SHORT_CHARACTERS
from heliograph.jobs.model import Job
from heliograph.jobs.states import OVER, State
from heliograph.jobs.store.listing import Criteria
from heliograph.wire import JobPage, JobView, Moment, Submission, job_json
from heliograph_api.authentication import Caller
from heliograph_api.body import read_json
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.listed import listed
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response, problems
from heliograph_api.tracing import traceparent

router = APIRouter(prefix="/v1", tags=["jobs"])

LONGEST_WAIT_SECONDS = 60.0
MOST_ITEMS = 200

Wait = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Wait so many seconds for one of the states", examples=[30])
]
SUBMISSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{Submission.__name__}"}}},
    }
}


@router.post(
    "/jobs",
    summary="Submit a job",
    status_code=201,
    response_model=JobView,
    responses=problems(400, 401, 403, 413, 422)
    | {200: {"model": JobView, "description": "The key stands for this job already"}},
    openapi_extra=SUBMISSION_BODY,
)
async def submit(
    request: Request, caller: Caller, idempotency_key: Annotated[str | None, Header(max_length=1000)] = None
) -> Response:
    """Store a job, journaled, and answer with it. With an Idempotency-Key a repeat gets the same job."""
    parts = parts_of(request)
    body = await read_json(request, parts.settings.most_body_bytes)
    key = parts.intake.idempotency(idempotency_key, body, caller)
    job, is_new = await parts.intake.take(body, caller, idempotency=key, traceparent=traceparent(request))
    return json_response(job_json(job), 201 if is_new else 200, {"Location": f"/v1/jobs/{job.id}"})


@router.get(
    "/jobs", summary="List jobs", response_model=JobPage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_jobs(
    request: Request,
    caller: Caller,
    state: Annotated[list[State] | None, Query(description="One of these states")] = None,
    backend: str | None = None,
    queue: str | None = None,
    group: str | None = None,
    owner: Annotated[str | None, Query(description="Whose; others' jobs take a role")] = None,
    name: str | None = None,
    parent: Annotated[str | None, Query(description="The children of this job")] = None,
    ancestor: Annotated[str | None, Query(description="All that descends from this job")] = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    updated_after: Annotated[
        Moment | None, Query(description="What changed since, oldest change first; ask with 5 s of overlap")
    ] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 50,
) -> Response:
    """List the newest first; a page's `next` is the cursor of the following one."""
    texts = {
        "backend": backend, "queue": queue, "group": group, "owner": owner, "name": name, "parent": parent,
        "ancestor": ancestor,
    }  # fmt: skip
    for field, text in texts.items():
        if text is not None and "\x00" in text:
            raise InvalidInputError.of(field, "this holds a NUL character")
    within = listed(caller, owner, queue)
    criteria = Criteria(
        within.owner, state or (), backend, within.queue, group, name, created_after, created_before, updated_after,
        parent=parent, ancestor=ancestor,
    )  # fmt: skip
    page = await parts_of(request).listing.page(criteria, limit=limit, cursor=cursor)
    return json_response({"items": [job_json(job) for job in page.jobs], "next": page.next})


@router.get("/jobs/{job_id}", summary="Read a job", response_model=JobView, responses=problems(401, 404, 422))
async def read(
    request: Request,
    caller: Caller,
    job_id: str,
    wait: Wait = 0,
    state: Annotated[list[State] | None, Query(description="States to wait for; by default, until it is over")] = None,
) -> Response:
    """Answer with the job; with `wait`, as soon as it is in one of the states, or when the time is over.

    The last 8 characters of an id, as notices show them, find a job among the caller's latest 10,000.
    """
    parts = parts_of(request)
    if len(job_id) == SHORT_CHARACTERS and not caller.is_anonymous:
        job_id = await _whole_id(request, job_id, caller)
    awaited = frozenset(state or OVER)

    async def look() -> Job:
        return await parts.jobs.get(job_id, caller)

    if not wait:
        return json_response(job_json(await look()))
    return json_response(job_json(await parts.waiting.until(job_id, look, lambda job: job.state in awaited, wait)))


@router.post(
    "/jobs/{job_id}/cancel", summary="Cancel a job", response_model=JobView, responses=problems(401, 403, 404, 409)
)
async def cancel(request: Request, caller: Caller, job_id: str) -> Response:
    """End a waiting job now; tell the holder of a running one to stop, which `cancel_requested` shows meanwhile.

    What descends from it is cancelled with it.
    """
    return json_response(job_json(await parts_of(request).jobs.cancel(job_id, caller)))


@router.post(
    "/jobs/{job_id}/retry", summary="Run a job again", response_model=JobView, responses=problems(401, 403, 404, 409)
)
async def retry(request: Request, caller: Caller, job_id: str) -> Response:
    """Queue a job that is over once more, as a new series."""
    return json_response(job_json(await parts_of(request).jobs.reopen(job_id, caller)))


async def _whole_id(request: Request, end: str, caller: Identity) -> str:
    """Return the id of the one job of late that the caller may see and whose id ends so."""
    match await parts_of(request).listing.ending_in(end.upper(), scope(caller)):
        case [found]:
            return found
        case []:
            raise NotFoundError(f"there is no job whose id ends in {end} among the latest that you may see")
        case _:
            raise NotFoundError(f"several ids end in {end}: give the whole one")
