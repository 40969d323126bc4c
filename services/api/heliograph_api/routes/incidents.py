"""Reports of incidents: a problem that somebody tells the operators of."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.identity.roles import Action
from heliograph.ids import new_id
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import SubjectKind
from heliograph.wire.bulletins import IncidentDetail, IncidentPage, IncidentRequest, IncidentTaken
from heliograph_api.addressees import shown
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.person import Person
from heliograph_api.reading import body_of, read_model
from heliograph_api.reporting import report
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["incidents"])

_SKEW = timedelta(minutes=5)  # clocks of clients differ


@router.post(
    "/incidents", summary="Report a problem", status_code=201, response_model=IncidentTaken,
    responses=problems(400, 401, 403, 404, 413, 422, 429), openapi_extra=body_of(IncidentRequest),
)  # fmt: skip
async def report_incident(request: Request, caller: Person) -> Response:
    """Tell the operators of a problem, at any hour; at most 20 reports of one person in an hour."""
    parts = parts_of(request)
    asked = await read_model(request, IncidentRequest)
    now = await parts.database.now()
    if asked.occurred_at is not None and asked.occurred_at > now + _SKEW:
        raise InvalidInputError.of("occurred_at", "this has yet to come")
    if asked.job is not None:
        await parts.jobs.get(asked.job, caller)
    bulletin = Bulletin(
        new_id(), SubjectKind.INCIDENT, caller.subject, now, asked.text, asked.title, asked.job, asked.occurred_at
    )
    await report(parts, bulletin, f"report|{caller.subject}")
    told = await parts.announced_channels.tells_incidents()
    return json_response(_view(bulletin) | {"told": told}, 201, {"Location": f"/v1/incidents/{bulletin.id}"})


@router.get(
    "/incidents", summary="List reports of problems", response_model=IncidentPage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_incidents(
    request: Request, caller: Caller, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Response:
    """List the newest first; for those who may see everybody's jobs."""
    caller.require(Action.SEE_ALL)
    found, after = await parts_of(request).bulletins.page(SubjectKind.INCIDENT, limit=limit, cursor=cursor)
    return json_response({"items": [_view(each) for each in found], "next": after})


@router.get(
    "/incidents/{incident_id}", summary="Read a report of a problem", response_model=IncidentDetail,
    responses=problems(401, 403, 404),
)  # fmt: skip
async def read_incident(request: Request, caller: Person, incident_id: str) -> Response:
    """Answer with a report and whether the operators were told; for who made it, and who may see everybody's jobs.

    The latter read at which addresses, too.
    """
    parts = parts_of(request)
    found = await parts.bulletins.get(incident_id)
    is_theirs = found.by == caller.subject or caller.may(Action.SEE_ALL)
    if found.kind is not SubjectKind.INCIDENT or not is_theirs:
        raise NotFoundError(f"there is no report {incident_id}")
    notices = await shown(request, caller, await parts.ledger.of_subject(found.subject))
    return json_response(_view(found) | {"notices": [each.model_dump() for each in notices]})


def _view(bulletin: Bulletin) -> dict[str, Any]:
    return {
        "id": bulletin.id, "by": bulletin.by, "title": bulletin.title, "text": bulletin.text, "job": bulletin.job,
        "occurred_at": bulletin.occurred_at or bulletin.created_at, "created_at": bulletin.created_at,
        "planned_at": bulletin.planned_at,
    }  # fmt: skip
