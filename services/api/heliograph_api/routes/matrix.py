"""The caller's Matrix user: linked by a code that it says to the bot."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.errors import ConflictError, NotFoundError
from heliograph.notices.linked import CODE_LIFETIME
from heliograph.wire.preferences import MatrixChallenge, MatrixLinkView, MatrixUserRequest
from heliograph_api.parts import parts_of
from heliograph_api.person import Person
from heliograph_api.reading import body_of, read_model
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["notifications"])


@router.get(
    "/me/matrix", summary="Read which Matrix user is yours", response_model=MatrixLinkView, responses=problems(401, 403)
)
async def read_link(request: Request, caller: Person) -> Response:
    """Answer with the linked user and the rooms in which it was seen."""
    link = await parts_of(request).linked.of_person(caller.subject)
    return json_response({"user": link.user, "rooms": link.rooms, "linked_at": link.linked_at})


@router.post(
    "/me/matrix", summary="Link a Matrix user", status_code=201, response_model=MatrixChallenge,
    responses=problems(400, 401, 403, 409, 413, 422), openapi_extra=body_of(MatrixUserRequest),
)  # fmt: skip
async def link(request: Request, caller: Person) -> Response:
    """Answer with a code; the user is linked once it has said that to the bot. The last code counts, and once."""
    parts = parts_of(request)
    asked = await read_model(request, MatrixUserRequest)
    channels = await parts.announced_channels.channels()
    if "matrix" not in channels:
        raise ConflictError(
            "Matrix is not set up here: no notifier that sends over it runs, so nobody would hear a code"
        )
    code = await parts.linked.challenge(caller.subject, asked.user)
    answer = {
        "code": code, "expires_in_seconds": int(CODE_LIFETIME.total_seconds()), "say": f"link {code}",
        "bot": channels["matrix"],
    }  # fmt: skip
    return json_response(answer, 201, {"Cache-Control": "no-store"})


@router.delete("/me/matrix", summary="Unlink your Matrix user", status_code=204, responses=problems(401, 403, 404))
async def unlink(request: Request, caller: Person) -> Response:
    """Forget the user and its rooms."""
    if not await parts_of(request).linked.unlink(caller.subject):
        raise NotFoundError("no Matrix user is linked to you")
    return Response(status_code=204)
