"""Errors as problem+json, rendered here and nowhere else."""

import json
from http import HTTPStatus

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from heliograph.errors import FieldError, HeliographError, InvalidInputError, UnauthenticatedError, UnavailableError

_log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2


def problem_json(error: HeliographError) -> dict[str, object]:
    """Return an error in the shape of ``Problem``, ready to be written as JSON."""
    body: dict[str, object] = {
        "type": f"urn:heliograph:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": int(error.status),
        "detail": error.message,
    }
    if error.errors:
        body["errors"] = [{"field": each.field, "message": each.message} for each in error.errors]
    return body


def problem(error: HeliographError) -> Response:
    """Render an error."""
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_json(problem_json(error)), error.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of this app leave as problem+json."""
    app.add_exception_handler(HeliographError, _known)
    app.add_exception_handler(RequestValidationError, _bad_query)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _defect)


async def _known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HeliographError)
    return problem(error)


async def _bad_query(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(str(fault["loc"][min(1, len(fault["loc"]) - 1)]), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors()
    ]
    return problem(InvalidInputError.of_all(errors))


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
    }
    body = {
        "type": f"urn:heliograph:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": error.status_code,
        "detail": details.get(HTTPStatus(error.status_code), str(error.detail)),
    }
    return Response(_json(body), error.status_code, error.headers, MEDIA_TYPE)


async def _gone(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the client went away before it had sent its body, which is no defect of ours."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _defect(request: Request, error: Exception) -> Response:
    return problem(defect(request, error))


def defect(request: Request, error: Exception) -> HeliographError:
    """Log an error that nobody foresaw, and return what its client may know of it."""
    _log.error("defect", method=request.method, path=_path(request), exc_info=error)
    return HeliographError("this is a defect of the service; its log has the details")


def _path(request: Request) -> str:
    """Return the path as it may be logged: without its query, nor a signed link's token, which are credentials."""
    token = request.path_params.get("token")
    return request.url.path.replace(token, "...") if token else request.url.path


def _json(body: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # a message quotes half of a surrogate pair, which json escapes
        return json.dumps(body).encode()
