"""Reports of incidents: a problem that somebody tells the operators of."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action
from heliograph.ids import SHORT_CHARACTERS, new_id
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.claims import addresses_of
from heliograph.notices.model import SubjectKind
from heliograph.wire.bulletins import IncidentDetail, IncidentPage, IncidentRequest, IncidentTaken
from heliograph_api.addressees import shown
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import Parts, parts_of
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
    request: Request, caller: Person, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Response:
    """List the newest first: the caller's own, and everybody's for those who may see everybody's jobs."""
    bulletins = parts_of(request).bulletins
    found, after = await bulletins.page(SubjectKind.INCIDENT, limit=limit, cursor=cursor, by=_seen(caller))
    return json_response({"items": [_view(each) for each in found], "next": after})


@router.get(
    "/incidents/{incident_id}", summary="Read a report of a problem", response_model=IncidentDetail,
    responses=problems(401, 403, 404),
)  # fmt: skip
async def read_incident(request: Request, caller: Person, incident_id: str) -> Response:
    """Answer with a report and whether the operators were told; for who made it, and who may see everybody's jobs.

    The latter read at which addresses, too. The last 8 characters of an id, as a report's page shows them, will do.
    """
    parts = parts_of(request)
    found = await _found(parts, incident_id, _seen(caller))
    notices = await shown(request, caller, await parts.ledger.of_subject(found.subject))
    return json_response(_view(found) | {"notices": [each.model_dump() for each in notices]})


def _seen(caller: Identity) -> frozenset[str] | None:
    """Return whose reports somebody may read, None being everybody's; who reports by a link does so as an address."""
    return None if caller.may(Action.SEE_ALL) else frozenset([caller.subject, *addresses_of(caller.claims)])


async def _found(parts: Parts, identifier: str, by: frozenset[str] | None) -> Bulletin:
    if len(identifier) != SHORT_CHARACTERS:
        found = await parts.bulletins.get(identifier)
        if found.kind is SubjectKind.INCIDENT and (by is None or found.by in by):
            return found
        raise NotFoundError(f"there is no report {identifier}")
    match await parts.bulletins.ending_in(identifier.upper(), SubjectKind.INCIDENT, by):
        case [found]:
            return found
        case []:
            raise NotFoundError(f"there is no report whose number ends in {identifier}")
        case _:
            raise NotFoundError(f"several reports' numbers end in {identifier}: give the whole one")


def _view(bulletin: Bulletin) -> dict[str, Any]:
    return {
        "id": bulletin.id, "by": bulletin.by, "title": bulletin.title, "text": bulletin.text, "job": bulletin.job,
        "occurred_at": bulletin.occurred_at or bulletin.created_at, "created_at": bulletin.created_at,
        "planned_at": bulletin.planned_at,
    }  # fmt: skip
