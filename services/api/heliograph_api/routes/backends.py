"""Backends: what workers announced."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.announcements import Announced
from heliograph.errors import NotFoundError
from heliograph.identity.roles import Action
from heliograph.wire import BackendPage, BackendView
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["backends"])


@router.get(
    "/backends", summary="List backends", response_model=BackendPage, responses=problems(401, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_backends(request: Request, caller: Caller) -> Response:  # noqa: ARG001 - who calls must hold a token
    """List what can be asked for. A backend without workers stays: its jobs wait."""
    announced = await parts_of(request).registry.refresh()
    return json_response({"items": [_view(each) for each in announced], "next": None})


@router.get("/backends/{name}", summary="Read a backend", response_model=BackendView, responses=problems(401, 404))
async def read_backend(request: Request, caller: Caller, name: str) -> Response:  # noqa: ARG001 - as above
    """Answer with a backend and the JSON Schema of its parameters."""
    return json_response(_view((await parts_of(request).registry.find(name)).announced))


@router.delete("/backends/{name}", summary="Forget a backend", status_code=204, responses=problems(401, 403, 404))
async def remove_backend(request: Request, caller: Caller, name: str) -> Response:
    """Forget a backend that no worker offers any more; one that is still offered is announced anew."""
    caller.require(Action.REMOVE_BACKENDS)
    parts = parts_of(request)
    if not await parts.announcements.remove(name):
        raise NotFoundError(f"there is no backend {name}")
    await parts.registry.refresh()
    return Response(status_code=204)


def _view(announced: Announced) -> dict[str, object]:
    return {
        "name": announced.name, "version": announced.version, "title": announced.title,
        "description": announced.description, "parameters_schema": announced.parameters_schema,
        "roles": list(announced.roles), "timeout_seconds": announced.timeout_seconds, "workers": announced.workers,
        "last_seen": announced.last_seen,
    }  # fmt: skip
