"""What was given up and what is stuck."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.dead.model import DeadKind, LetterState
from heliograph.identity.roles import Action
from heliograph.wire.dead import DeadPage, DeadView, ReplayView
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get(
    "/dead", summary="List what was given up or is stuck", response_model=DeadPage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_dead(
    request: Request,
    caller: Caller,
    kind: Annotated[DeadKind | None, Query(description="Jobs, events, or what is stuck; by default all")] = None,
    state: Annotated[
        LetterState, Query(description="With `replayed`, the events that were replayed")
    ] = LetterState.OPEN,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List one kind after the other, the newest of a kind first; for those who may see everybody's jobs."""
    caller.require(Action.SEE_ALL)
    page = await parts_of(request).dead.page(kind, state=state, limit=limit, cursor=cursor)
    items = [DeadView.from_item(item).model_dump() for item in page.items]
    return json_response({"items": items, "next": page.next})


@router.post(
    "/dead/{dead_id}/replay", summary="Try again what was given up", response_model=ReplayView,
    responses=problems(401, 403, 404, 409),
)  # fmt: skip
async def replay(request: Request, caller: Caller, dead_id: str) -> Response:
    """Run a job again that was given up, tell an event again, or try again to tell of a stuck job."""
    caller.require(Action.REPLAY)
    kind = await parts_of(request).dead.replay(dead_id, caller)
    return json_response({"id": dead_id, "kind": kind})
