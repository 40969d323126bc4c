"""The page of a job: a static file whose script asks the api, with the token of whoever reads it."""

from fastapi import APIRouter
from starlette.responses import Response

from heliograph.errors import NotFoundError
from heliograph_api.pages.rendering import HEADERS, PageRoute, text_of

router = APIRouter(route_class=PageRoute)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ASSETS = {"style.css": "text/css", "job.js": "text/javascript", "swagger.js": "text/javascript"}


@router.get("/jobs/{job_id}", include_in_schema=False)
async def job_page(job_id: str) -> Response:  # noqa: ARG001 - the page reads it from its own address
    """Answer with the page, the same for every job: what it shows is the api's to give, and to refuse."""
    headers = HEADERS | {"Content-Security-Policy": _POLICY}
    return Response(text_of("job.html"), headers=headers, media_type="text/html; charset=utf-8")


@router.get("/pages/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """Answer with what the pages are made of."""
    if name not in _ASSETS:
        raise NotFoundError(f"there is no file {name}")
    headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
    return Response(text_of(name), headers=headers, media_type=f"{_ASSETS[name]}; charset=utf-8")
