"""Watches: being told of jobs that others submit, or of a group in another way than of the rest."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.admission.notify import wished
from heliograph.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action
from heliograph.ids import new_id
from heliograph.notices.claims import claimed_wishes, time_zone_of
from heliograph.notices.reach import reached
from heliograph.notices.watches import Watch, WatchKind
from heliograph.wire.silence import WatchPage, WatchRequest, WatchView
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import Parts, parts_of
from heliograph_api.person import Person
from heliograph_api.reading import body_of, read_model
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["notifications"])

MOST_WATCHES = 100  # of one person: those over a queue are read with each of its jobs


@router.post(
    "/watches", summary="Be told of a queue's, a backend's or a group's jobs", status_code=201,
    response_model=WatchView, responses=problems(400, 401, 403, 409, 413, 422), openapi_extra=body_of(WatchRequest),
)  # fmt: skip
async def watch(request: Request, caller: Person) -> Response:
    """Be told of what is submitted there, wherever the preferences and the token say.

    Everybody's jobs are for those who may see them; others watch groups of their own jobs.
    """
    parts = parts_of(request)
    asked = await read_model(request, WatchRequest)
    kind, of = await _watched(parts, caller, asked)
    claimed = claimed_wishes(caller.claims)
    if not reached(claimed, await parts.preferences.get(caller.subject)):
        raise InvalidInputError.of(
            "", "nothing says where to tell you: neither your token nor your preferences name an address or a room"
        )
    if len(await parts.watches.of_person(caller.subject)) >= MOST_WATCHES:
        raise ConflictError(f"you have {MOST_WATCHES} watches already; remove some")
    by_channel = {"email": asked.email, "matrix": asked.matrix}
    owner = None if caller.may(Action.SEE_ALL) else caller.subject
    made = Watch(
        new_id(), caller.subject, kind, of, owner, await parts.database.now(), claimed=claimed,
        asked=tuple(wished(channel, each) for channel, each in by_channel.items() if each),
        time_zone=time_zone_of(caller.claims),
    )  # fmt: skip
    await parts.watches.add(made)
    return json_response(_view(made), 201)


@router.get(
    "/watches", summary="List watches", response_model=WatchPage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_watches(
    request: Request, caller: Person, person: Annotated[str | None, Query(description="By default the caller")] = None
) -> Response:
    """List the newest first; another person's are for those who may change everybody's jobs."""
    if person not in {None, caller.subject}:
        caller.require(Action.CHANGE_ALL)
    found = await parts_of(request).watches.of_person(person or caller.subject)
    return json_response({"items": [_view(each) for each in found], "next": None})


@router.delete("/watches/{watch_id}", summary="Remove a watch", status_code=204, responses=problems(401, 403, 404))
async def remove_watch(request: Request, caller: Person, watch_id: str) -> Response:
    """Be told no more of what it watches; others' are removed by those who may change everybody's jobs.

    A watch outlives the role that allowed it.
    """
    person = None if caller.may(Action.CHANGE_ALL) else caller.subject
    if not await parts_of(request).watches.remove(watch_id, person):
        raise NotFoundError(f"there is no watch {watch_id}")
    return Response(status_code=204)


async def _watched(parts: Parts, caller: Identity, asked: WatchRequest) -> tuple[WatchKind, str]:
    """Return what is to be watched; a queue or a backend has to be there, for a misspelt one would never tell."""
    if asked.group is not None:
        return WatchKind.GROUP, asked.group
    if not caller.may(Action.SEE_ALL):
        raise ForbiddenError("your roles do not allow you to watch everybody's jobs; watch a group of your own")
    try:
        if asked.queue is not None:
            await parts.queues.get(asked.queue, caller)
        else:
            assert asked.backend is not None, "one of the three is named"
            await parts.registry.announced(asked.backend)
    except NotFoundError as error:
        raise InvalidInputError.of("backend" if asked.queue is None else "queue", error.message) from error
    return WatchKind.QUEUE, asked.queue or asked.backend or ""


def _view(watch: Watch) -> dict[str, Any]:
    wishes = {wish.channel: wish.to_document() for wish in watch.asked}
    for fields in wishes.values():
        del fields["channel"], fields["recipient"]
    of = {"queue": None, "group": None, watch.kind.value: watch.of}
    return {
        "id": watch.id,
        "person": watch.person,
        **of,
        "owner": watch.owner,
        "wishes": wishes,
        "created_at": watch.created_at,
    }
