"""Many jobs at once: groups, trees, batches of submissions."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from heliograph.abreast import abreast
from heliograph.admission.admission import checked_key
from heliograph.errors import HeliographError, InvalidInputError
from heliograph.identity.identity import Identity, scope
from heliograph.jobs.store.listing import Criteria
from heliograph.storage import StoreUnavailableError
from heliograph.wire import job_json
from heliograph.wire.groups import MOST_IN_BATCH, Batch, BatchPage, GroupView, TreeView, group_json, tree_json
from heliograph_api.authentication import Caller
from heliograph_api.body import parse_unjudged, read_body, refuse_faults
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.listed import listed
from heliograph_api.parts import Parts, parts_of
from heliograph_api.problems import defect, problem_json
from heliograph_api.responses import json_response, problems
from heliograph_api.tracing import traceparent

router = APIRouter(prefix="/v1", tags=["jobs"])

AT_ONCE = 100  # submissions of a batch under way: their inserts share round trips
CHILDREN = 50
MOST_NAME_CHARACTERS = 100  # of an unknown field, as it is told
PLACE = "\x1f"  # between a batch's key and a place: no client's key holds it, so that none is that of an item
BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{Batch.__name__}"}}},
    }
}


@router.post(
    "/jobs/batch", summary="Submit many jobs", response_model=BatchPage, responses=problems(400, 401, 413, 422),
    openapi_extra=BATCH_BODY,
)  # fmt: skip
async def submit_batch(
    request: Request, caller: Caller, idempotency_key: Annotated[str | None, Header(max_length=1000)] = None
) -> Response:
    """Take each of up to 1,000 submissions, or refuse it, by itself; answer in their order.

    With an Idempotency-Key, each is kept under the key and its place. Repeat the batch as it was, under the same key,
    for those that were answered with 503: what was taken is known. One that differs from what was taken
    in its place is refused.
    """
    parts = parts_of(request)
    items = _items(parse_unjudged(await read_body(request, parts.settings.most_batch_bytes)))
    checked_key(idempotency_key, caller)
    trace = traceparent(request)

    async def take(place: int) -> dict[str, Any]:
        try:
            if not parts.database.is_connected:  # it went away in the midst: the rest is not to wait for it one by one
                raise StoreUnavailableError
            return await _take(parts, items[place], caller, (idempotency_key, place), trace)
        except HeliographError as error:
            return {"status": int(error.status), "problem": problem_json(error)}
        except Exception as error:  # noqa: BLE001 - a defect in one submission must not hide what became of the others
            return {"status": int(HTTPStatus.INTERNAL_SERVER_ERROR), "problem": problem_json(defect(request, error))}

    return json_response({"items": await abreast(take, range(len(items)), most=AT_ONCE)})


@router.get(
    "/groups/{group:path}", summary="Read what a group amounts to", response_model=GroupView,
    responses=problems(401, 403, 404, 422), dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def read_group(
    request: Request,
    caller: Caller,
    group: str,
    owner: Annotated[str | None, Query(description="Whose; others' jobs take a role")] = None,
) -> Response:
    """Answer with the counts of the group's jobs that the caller may see, and the first that failed."""
    within = listed(caller, owner)
    return json_response(group_json(await parts_of(request).sets.group(group, within)))


@router.get(
    "/jobs/{job_id}/tree", summary="Read what descends from a job", response_model=TreeView,
    responses=problems(401, 404),
)  # fmt: skip
async def read_tree(request: Request, caller: Caller, job_id: str) -> Response:
    """Answer with the job's state, the counts of all that descends from it, and the newest of its children."""
    parts = parts_of(request)
    job = await parts.jobs.get(job_id, caller)
    seen = scope(caller)
    page = await parts.listing.page(Criteria(owner=seen.owner, queue=seen.queue, parent=job.id), limit=CHILDREN)
    children = {"items": [job_json(each) for each in page.jobs], "next": page.next}
    return json_response(tree_json(job, await parts.sets.descendants(job.id), children))


async def _take(
    parts: Parts, body: Any, caller: Identity, key: tuple[str | None, int], trace: str | None
) -> dict[str, Any]:
    """Take one submission, kept under the batch's key, if there is one, and its place."""
    refuse_faults(body)
    if not isinstance(body, dict):
        raise InvalidInputError.of("", "a submission is a JSON object")
    batch, place = key
    idempotency = parts.intake.idempotency(batch, body, caller)
    if idempotency:
        idempotency = (f"{idempotency[0]}{PLACE}{place}", idempotency[1])
    job, is_new = await parts.intake.take(body, caller, idempotency=idempotency, traceparent=trace)
    return {"status": int(HTTPStatus.CREATED if is_new else HTTPStatus.OK), "job": job_json(job)}


def _items(body: Any) -> list[Any]:
    """Return the submissions of a batch, unjudged."""
    if not isinstance(body, dict):
        raise InvalidInputError.of("", "the body is not a JSON object")
    if unknown := next((name for name in body if name != "jobs"), None):
        raise InvalidInputError.of(unknown[:MOST_NAME_CHARACTERS], "a batch holds `jobs` and nothing else")
    items = body.get("jobs")
    if not isinstance(items, list):
        raise InvalidInputError.of("jobs", "a batch is a list of submissions")
    if not 1 <= len(items) <= MOST_IN_BATCH:
        raise InvalidInputError.of("jobs", f"a batch holds 1 to {MOST_IN_BATCH} submissions, not {len(items)}")
    return items
