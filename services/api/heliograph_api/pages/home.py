"""The page at the address itself, for people who have only that: it says what this is, and where to go on."""

from fastapi import APIRouter
from starlette.responses import Response

from heliograph_api.pages.rendering import HEADERS, PageRoute, text_of

router = APIRouter(route_class=PageRoute)


@router.get("/", include_in_schema=False)
async def home() -> Response:
    """Answer with the page."""
    return Response(text_of("home.html"), headers=HEADERS, media_type="text/html; charset=utf-8")
