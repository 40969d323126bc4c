"""Health and metrics. They take no token and tell no secret."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from heliograph.readiness import readiness
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Say whether the process is alive")
async def healthz() -> Response:
    """Answer 200 while the process serves requests."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz", summary="Say whether requests can be served",
    responses={503: {"description": "MongoDB is away", "content": {"application/json": {}}}},
)  # fmt: skip
async def readyz(request: Request) -> Response:
    """Answer 503 without MongoDB only; a missing broker is `degraded`, for jobs are taken and run without it."""
    parts = parts_of(request)
    is_ready, about = readiness(parts.database, parts.bus)
    if is_ready and not request.app.state.prepared.is_set():
        return json_response({**about, "status": "starting"}, 503)
    return json_response(about, 200 if is_ready else 503)


@router.get(
    "/metrics", summary="Read metrics", response_class=Response,
    responses={200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}},
)  # fmt: skip
async def metrics() -> Response:
    """Answer with metrics in the text format of Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
