"""Mutes: what the caller wants to hear no more of."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.ids import new_id
from heliograph.notices.mutes import MOST_MUTES, Mute, MuteScope
from heliograph.wire.silence import MutePage, MuteRequest, MuteView
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.person import Person, places_of
from heliograph_api.reading import body_of, read_model
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["notifications"])

MADE_BY = "a request to the api"


@router.post(
    "/mutes", summary="Mute a job, a group or everything", status_code=201, response_model=MuteView,
    responses=problems(400, 401, 403, 404, 409, 413, 422), openapi_extra=body_of(MuteRequest),
)  # fmt: skip
async def mute(request: Request, caller: Person) -> Response:
    """Hear no more of it, for good or for a time. What is silenced is still listed, as suppressed."""
    parts = parts_of(request)
    asked = await read_model(request, MuteRequest)
    now = await parts.database.now()
    until = now + timedelta(seconds=asked.seconds) if asked.seconds is not None else asked.until
    if until is not None and until <= now:
        raise InvalidInputError.of("until", "this is past already")
    channels = await parts.announced_channels.channels()
    if asked.channel is not None and channels and asked.channel not in channels:
        raise InvalidInputError.of(
            "channel", f"there is no such channel here; there are: {', '.join(sorted(channels))}"
        )
    scope, of, owner = MuteScope.ALL, None, None
    if asked.job is not None:
        scope, of = MuteScope.JOB, (await parts.jobs.get(asked.job, caller)).id
    elif asked.group is not None:
        scope, of, owner = MuteScope.GROUP, asked.group, asked.owner or caller.subject
    if len(await parts.mutes.of_person(caller.subject)) >= MOST_MUTES:
        raise ConflictError(f"you have {MOST_MUTES} mutes already; remove some, or mute everything")
    made = Mute(
        new_id(), scope, MADE_BY, now, of=of, owner=owner, person=caller.subject, channel=asked.channel, until=until
    )
    await parts.mutes.add(made)
    return json_response(_view(made), 201)


@router.get(
    "/mutes", summary="List your mutes", response_model=MutePage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_mutes(request: Request, caller: Person) -> Response:
    """List those in force, the newest first; also what a link in a message has made for a recipient of the caller's."""
    now = await parts_of(request).database.now()
    found = [each for each in await _mutes(request, caller) if each.until is None or each.until > now]
    return json_response({"items": [_view(each) for each in found], "next": None})


@router.delete("/mutes/{mute_id}", summary="Remove a mute", status_code=204, responses=problems(401, 403, 404))
async def remove_mute(request: Request, caller: Person, mute_id: str) -> Response:
    """Be told again."""
    if all(each.id != mute_id for each in await _mutes(request, caller)):
        raise NotFoundError(f"there is no mute {mute_id}")
    await parts_of(request).mutes.remove(mute_id)
    return Response(status_code=204)


async def _mutes(request: Request, caller: Identity) -> list[Mute]:
    places = await places_of(request, caller)
    found = await parts_of(request).mutes.touching([caller.subject], places)
    return sorted(found, key=lambda each: (each.created_at, each.id), reverse=True)


def _view(mute: Mute) -> dict[str, Any]:
    return {
        "id": mute.id, "scope": mute.scope, "job": mute.of if mute.scope is MuteScope.JOB else None,
        "group": mute.of if mute.scope is MuteScope.GROUP else None, "owner": mute.owner, "channel": mute.channel,
        "recipient": mute.recipient, "until": mute.until, "made_by": mute.made_by, "created_at": mute.created_at,
    }  # fmt: skip
