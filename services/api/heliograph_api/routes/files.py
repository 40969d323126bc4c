"""Uploads: input files, streamed in and owned by who sent them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.identity.roles import Action
from heliograph.storage import StoredFile
from heliograph.wire import UploadView
from heliograph_api.authentication import Caller
from heliograph_api.body import refuse_declared
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["uploads"])

_MOST_MEDIA_TYPE_CHARACTERS = 255


@router.post(
    "/uploads",
    summary="Upload an input file",
    status_code=201,
    response_model=UploadView,
    responses=problems(401, 403, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    request: Request,
    caller: Caller,
    name: Annotated[str, Query(min_length=1, max_length=200, description="The file's name")] = "upload",
) -> Response:
    """Store the request's body as a file. A job takes it by its id, in a parameter of format `heliograph-file`."""
    caller.require(Action.SUBMIT)
    if not name.isprintable():
        raise InvalidInputError.of("name", "the name holds characters that cannot be printed")
    parts = parts_of(request)
    refuse_declared(request, parts.settings.most_upload_bytes)
    media_type = request.headers.get("content-type", "application/octet-stream")[:_MOST_MEDIA_TYPE_CHARACTERS]
    if media_type.startswith("multipart/"):
        raise InvalidInputError.of("Content-Type", "send the file's bytes as the body, not a form: --data-binary @file")
    stored = await parts.uploads.put(
        request.stream(), name=name, media_type=media_type, owner=caller.subject,
        most_bytes=parts.settings.most_upload_bytes,
    )  # fmt: skip
    return json_response(_view(stored), 201, {"Location": f"/v1/uploads/{stored.id}"})


@router.get(
    "/uploads/{upload_id}", summary="Read about an upload", response_model=UploadView, responses=problems(401, 404)
)
async def about(request: Request, caller: Caller, upload_id: str) -> Response:
    """Answer with the file's name, size and checksum."""
    stored = await parts_of(request).uploads.find(upload_id)
    if stored.owner != caller.subject:
        raise NotFoundError(f"there is no file {upload_id}")
    return json_response(_view(stored))


def _view(stored: StoredFile) -> dict[str, object]:
    return {
        "id": stored.id, "name": stored.name, "media_type": stored.media_type, "bytes": stored.bytes,
        "sha256": stored.sha256, "created_at": stored.created_at,
    }  # fmt: skip
