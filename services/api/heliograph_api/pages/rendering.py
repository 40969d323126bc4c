"""How a page is written: every value escaped, no script of its own, nothing kept by whoever passes it on."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

from heliograph.errors import HeliographError, NotFoundError
from heliograph_api.parts import parts_of

_FILES = files(__package__) / "files"
_TITLES = {
    HTTPStatus.FORBIDDEN: "This link does not work",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.TOO_MANY_REQUESTS: "Not so often, please",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service is away for the moment",
}
# The address of a page may be a credential, and its reader is told of nobody else's: so no referrer, and no caches.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


def text_of(name: str) -> str:
    """Return a file of this package."""
    return (_FILES / name).read_text(encoding="utf-8")


def page(name: str, status: int = 200, *, title: str, **values: str) -> Response:
    """Return a page made of its file and values, each of them escaped."""
    body = Template(text_of(name)).substitute({key: escape(value) for key, value in {"title": title, **values}.items()})
    whole = Template(text_of("layout.html")).substitute(title=escape(title), body=body)
    return Response(whole, status, HEADERS, "text/html; charset=utf-8")


def link_keys(request: Request) -> tuple[str, ...]:
    """Return the keys of signed links; ``NotFoundError`` where there are none, and so no links."""
    keys = parts_of(request).settings.link_keys
    if not keys:
        raise NotFoundError("this service makes no such links: its operator gave it no HELIOGRAPH_LINK_KEYS")
    return keys


def digest(*words: str | None) -> str:
    """Return what stands for some words as a key, from which nobody can read them."""
    return sha256("\0".join(word or "" for word in words).encode()).hexdigest()[:40]


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except HeliographError as error:
                title = _TITLES.get(error.status, error.status.phrase)
                return page("said.html", error.status, title=title, text=error.message[:1].upper() + error.message[1:])

        return handle
