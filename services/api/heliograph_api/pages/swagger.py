"""The page on which the api describes itself: Swagger UI, served from here, for many sites reach no public network."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from heliograph.errors import NotFoundError
from heliograph_api.pages.rendering import HEADERS, PageRoute, text_of

router = APIRouter(route_class=PageRoute)

_DISTRIBUTION = "fastapi_offline"  # what we take of it is Swagger UI's files
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get("/docs", include_in_schema=False)
async def swagger_page() -> Response:
    """Answer with the page, whose script asks for the OpenAPI document."""
    headers = HEADERS | {"Content-Security-Policy": _POLICY}
    return Response(text_of("swagger.html"), headers=headers, media_type="text/html; charset=utf-8")


@router.get("/docs/{name}", include_in_schema=False)
async def swagger_file(name: str) -> Response:
    """Answer with a file of Swagger UI."""
    if name not in _ASSETS:
        raise NotFoundError(f"there is no file {name}")
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_content(name), headers=headers, media_type=f"{_ASSETS[name]}; charset=utf-8")


@cache
def _content(name: str) -> bytes:
    return (files(_DISTRIBUTION) / "static" / name).read_bytes()
