"""Tokens of queues: issued, listed, revoked."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.identity.queue_tokens import QueueToken
from heliograph.identity.roles import Action
from heliograph.wire import IssuedToken, TokenPage, TokenRequest, TokenView
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.reading import body_of, read_model
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["tokens"])


@router.post(
    "/tokens", summary="Issue a token for a queue's agents", status_code=201, response_model=IssuedToken,
    responses=problems(400, 401, 403, 413, 422), openapi_extra=body_of(TokenRequest),
)  # fmt: skip
async def issue(request: Request, caller: Caller) -> Response:
    """Make a token that sees and changes the jobs of one queue; it is shown in this answer and never again."""
    caller.require(Action.MANAGE_QUEUES)
    parts = parts_of(request)
    asked = await read_model(request, TokenRequest)
    if asked.expires_at is not None and asked.expires_at <= datetime.now(UTC):
        raise InvalidInputError.of("expires_at", "this is past already")
    try:
        await parts.queues.get(asked.queue, caller)
    except NotFoundError as error:
        raise InvalidInputError.of("queue", error.message) from error
    kept, token = await parts.queue_tokens.issue(asked.queue, asked.description, caller.subject, asked.expires_at)
    return json_response(
        _view(kept) | {"token": token}, 201, {"Location": f"/v1/tokens/{kept.id}", "Cache-Control": "no-store"}
    )


@router.get(
    "/tokens", summary="List tokens of queues", response_model=TokenPage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_tokens(request: Request, caller: Caller, queue: str | None = None) -> Response:
    """List the tokens of a queue, or of all, the oldest first; revoked ones too."""
    caller.require(Action.MANAGE_QUEUES)
    found = await parts_of(request).queue_tokens.all(queue)
    return json_response({"items": [_view(token) for token in found], "next": None})


@router.get(
    "/tokens/{token_id}", summary="Read about a token", response_model=TokenView, responses=problems(401, 403, 404)
)
async def read_token(request: Request, caller: Caller, token_id: str) -> Response:
    """Answer with whose a token is, when it was last used, and whether it is revoked."""
    caller.require(Action.MANAGE_QUEUES)
    return json_response(_view(await parts_of(request).queue_tokens.get(token_id)))


@router.delete(
    "/tokens/{token_id}", summary="Revoke a token", status_code=204, responses=problems(401, 403, 404)
)  # fmt: skip
async def revoke(request: Request, caller: Caller, token_id: str) -> Response:
    """Let a token be taken no more, here at once and elsewhere within 5 s; twice is harmless."""
    caller.require(Action.MANAGE_QUEUES)
    await parts_of(request).queue_tokens.revoke(token_id)
    return Response(status_code=204)


def _view(token: QueueToken) -> dict[str, Any]:
    return {
        "id": token.id, "queue": token.queue, "description": token.description, "created_at": token.created_at,
        "created_by": token.created_by, "expires_at": token.expires_at, "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }  # fmt: skip
