"""What outside systems tell of running jobs. No token is asked for: the address is signed, and is the credential."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from heliograph.callbacks.callbacks import MOST_BYTES
from heliograph.errors import InvalidInputError, NotFoundError
from heliograph_api.body import read_json
from heliograph_api.parts import parts_of, require_database
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["callbacks"], dependencies=[Depends(require_database)])

MessageId = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="An id of this message, as `message_id` in it: a repeat of the same message is kept once",
    ),
]
_RESPONSES: dict[int | str, dict[str, Any]] = problems(400, 403, 404, 413, 422)
_RESPONSES[403]["description"] = "The address is not valid, has expired, or is of an attempt that is over"
_RESPONSES[404]["description"] = "This service has no keys to check such addresses with"
_RESPONSES[429] = {**_RESPONSES[403], "description": "So much was told already that only the end is still taken"}
_RESPONSES[200] = {
    "description": "It is kept, and the job's backend gets it",
    "content": {"application/json": {"example": {"accepted": True}}},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "progress": {"value": {"state": "running", "progress": 0.4, "stage": "calibrating", "node": "n07"}},
                    "done": {"value": {"state": "done", "result": {"period_days": 0.58}}},
                    "failed": {"value": {"state": "failed", "message": "no such field", "kind": "usage"}},
                },
            }
        },
    }
}


@router.post(
    "/callbacks/{token}", summary="Tell of a running job", response_class=Response, responses=_RESPONSES,
    openapi_extra=_BODY,
)  # fmt: skip
async def tell(request: Request, token: str, message_id: MessageId = None) -> Response:
    """Hand a message to the job that the address was made for, in the order of their coming.

    `state` (or `action`) `done` or `ready`, and `failed`, end the work, and nothing more is taken; anything else goes
    on. `progress` lies in 0..1. Other keys are kept for the backend.
    """
    return await _accept(request, token, await read_json(request, MOST_BYTES), message_id)


@router.get(
    "/callbacks/{token}", summary="Tell of a running job, in a query", response_class=Response, responses=_RESPONSES
)
async def tell_in_query(request: Request, token: str, message_id: MessageId = None) -> Response:
    """Hand on a message whose keys and values are those of the query, for systems that can do no more than this."""
    body = dict(request.query_params)
    if not body:  # what looks at addresses to show a preview must not tell anything
        raise InvalidInputError.of("", "the query is empty: it holds the message, as in ?state=running&progress=0.4")
    return await _accept(request, token, body, message_id)


async def _accept(request: Request, token: str, body: Any, message_id: str | None) -> Response:
    callbacks = parts_of(request).callbacks
    if callbacks is None:
        raise NotFoundError("this service takes no callbacks: its operator gave it no HELIOGRAPH_LINK_KEYS")
    await callbacks.accept(token, body, message_id)
    return json_response({"accepted": True})
