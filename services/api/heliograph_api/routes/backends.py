"""Backends: what workers announced."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.announcements import Announced
from heliograph.errors import NotFoundError
from heliograph.identity.roles import Action
from heliograph.jobs.limits import Limits
from heliograph.wire import BackendPage, BackendView
from heliograph.wire.others import BackendChange
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.reading import body_of, read_model
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
    return json_response(_view(await parts_of(request).registry.announced(name)))


@router.patch(
    "/backends/{name}", summary="Pause or limit a backend", response_model=BackendView,
    responses=problems(400, 401, 403, 404, 413, 422), openapi_extra=body_of(BackendChange),
)  # fmt: skip
async def change_backend(request: Request, caller: Caller, name: str) -> Response:
    """Change what the body names. What runs goes on; limits that are lower than that take effect as jobs end."""
    caller.require(Action.PAUSE)
    change = await read_model(request, BackendChange)
    announcements = parts_of(request).announcements
    if "limits" in change.model_fields_set:
        limits = Limits(change.limits.total, change.limits.per_owner) if change.limits else None
        _require(name, await announcements.set_limits(name, limits))
    if "paused" in change.model_fields_set:
        _require(name, await announcements.set_paused(name, paused=change.paused))
    return await _changed(request, name)


@router.post(
    "/backends/{name}/pause", summary="Pause a backend", response_model=BackendView, responses=problems(401, 403, 404)
)
async def pause_backend(request: Request, caller: Caller, name: str) -> Response:
    """Begin none of its jobs until it is resumed: they wait. What runs goes on."""
    caller.require(Action.PAUSE)
    _require(name, await parts_of(request).announcements.set_paused(name, paused=True))
    return await _changed(request, name)


@router.post(
    "/backends/{name}/resume", summary="Resume a backend", response_model=BackendView, responses=problems(401, 403, 404)
)
async def resume_backend(request: Request, caller: Caller, name: str) -> Response:
    """Begin its jobs again."""
    caller.require(Action.PAUSE)
    _require(name, await parts_of(request).announcements.set_paused(name, paused=False))
    return await _changed(request, name)


@router.delete("/backends/{name}", summary="Forget a backend", status_code=204, responses=problems(401, 403, 404))
async def remove_backend(request: Request, caller: Caller, name: str) -> Response:
    """Forget a backend that no worker offers any more; one that is still offered is announced anew."""
    caller.require(Action.REMOVE_BACKENDS)
    parts = parts_of(request)
    _require(name, await parts.announcements.remove(name))
    await parts.registry.refresh()
    return Response(status_code=204)


def _require(name: str, is_there: bool) -> None:
    if not is_there:
        raise NotFoundError(f"there is no backend {name}")


async def _changed(request: Request, name: str) -> Response:
    """Answer with a backend as it is now; idle workers may have something to do at once."""
    parts = parts_of(request)
    await parts.registry.refresh()
    announced = await parts.registry.announced(name)
    await parts.bus.hint([name])
    return json_response(_view(announced))


def _view(announced: Announced) -> dict[str, object]:
    return {
        "name": announced.name, "version": announced.version, "title": announced.title,
        "description": announced.description, "parameters_schema": announced.parameters_schema,
        "roles": list(announced.roles), "timeout_seconds": announced.timeout_seconds, "workers": announced.workers,
        "last_seen": announced.last_seen, "paused": announced.paused,
        "limits": {"total": announced.limits.total, "per_owner": announced.limits.per_owner},
    }  # fmt: skip
