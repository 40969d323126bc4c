"""What belongs to a job: its history, its log, its artifacts, who was told of it."""

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.jobs.model import Job
from heliograph.jobs.store.logs import LogChunk
from heliograph.wire import ArtifactPage, HistoryPage, NoticePage
from heliograph.wire.jobs import artifact_json, history_json
from heliograph_api.addressees import shown
from heliograph_api.authentication import Caller
from heliograph_api.following import Follower
from heliograph_api.parts import parts_of
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["jobs"])

BYTES = "application/octet-stream"
# What a browser may show in place; anything else is saved, for a page that a job made could act in its reader's name.
SHOWN_IN_PLACE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "application/pdf"})

# A log that is followed is worth nothing late: nginx and its like would keep its pieces until a buffer is full.
UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/jobs/{job_id}/history", summary="Read a job's changes of state", response_model=HistoryPage,
    responses=problems(401, 404),
)  # fmt: skip
async def history(request: Request, caller: Caller, job_id: str) -> Response:
    """Answer with the last 200 changes, oldest first."""
    job = await parts_of(request).jobs.get(job_id, caller, with_history=True)
    return json_response(history_json(job.history))


@router.get(
    "/jobs/{job_id}/log", summary="Read a job's log", response_class=Response,
    responses=problems(401, 404, 422)
    | {200: {"content": {"text/plain": {}}, "description": "What the attempt printed"}},
)  # fmt: skip
async def log(
    request: Request,
    caller: Caller,
    job_id: str,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000, description="Which attempt; by default the last")] = None,
    series: Annotated[int | None, Query(ge=1, le=1_000_000, description="Which series; by default the last")] = None,
    follow: Annotated[
        bool,
        Query(
            description="Go on while it prints: until the attempt is over or, where none is named, the job. An answer "
            "ends after an hour at most; one that ended early is resumed with `attempt`, `series` and `offset`"
        ),
    ] = False,
    offset: Annotated[
        int, Query(ge=0, le=1 << 40, description="Leave out so many bytes of this answer; takes a named attempt")
    ] = 0,
) -> Response:
    """Stream what an attempt printed, as plain text in UTF-8."""
    if offset and attempt is None:
        raise InvalidInputError.of("offset", "name the attempt, for the last one may be another by now")
    parts = parts_of(request)
    job = await parts.jobs.get(job_id, caller)
    if follow:

        async def read() -> Job:
            return await parts.jobs.get(job_id, caller)

        text = Follower(parts.logs, parts.waiting, read, job, series, attempt, offset).text()
    else:
        chunks = parts.logs.read(job.id, series or job.series, attempt or job.attempt)
        text = await _started(_text(chunks, offset))
    return StreamingResponse(
        text, media_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"} | UNBUFFERED
    )


@router.get(
    "/jobs/{job_id}/artifacts", summary="List a job's artifacts", response_model=ArtifactPage,
    responses=problems(401, 404),
)  # fmt: skip
async def artifacts(request: Request, caller: Caller, job_id: str) -> Response:
    """List the files that the job made."""
    job = await parts_of(request).jobs.get(job_id, caller)
    return json_response({"items": [artifact_json(each) for each in job.artifacts], "next": None})


@router.get(
    "/jobs/{job_id}/artifacts/{name:path}", summary="Download an artifact", response_class=Response,
    responses=problems(401, 404) | {200: {"content": {"*/*": {}}, "description": "The file"}},
)  # fmt: skip
async def artifact(request: Request, caller: Caller, job_id: str, name: str) -> Response:
    """Stream a file that the job made."""
    parts = parts_of(request)
    job = await parts.jobs.get(job_id, caller)
    found = next((each for each in job.artifacts if each.name == name), None)
    if found is None:
        raise NotFoundError(f"the job has no artifact {name}")
    how = "inline" if found.media_type in SHOWN_IN_PLACE else "attachment"
    headers = {
        "Content-Length": str(found.bytes),
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(found.name.rsplit('/', 1)[-1], safe='')}",
        "ETag": f'"{found.sha256}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    chunks = await _started(parts.artifacts.read(found.file))
    return StreamingResponse(chunks, media_type=_writable(found.media_type), headers=headers)


@router.get(
    "/jobs/{job_id}/notices", summary="Read who was told of a job", response_model=NoticePage,
    responses=problems(401, 404),
)  # fmt: skip
async def notices(request: Request, caller: Caller, job_id: str) -> Response:
    """Answer with the notices about the job, sent or not, with the rule that decided and the server's receipt.

    Who may not see everybody's jobs reads the address of those to them and to whom their submission named; of others
    only what they are, such as `operators`.
    """
    parts = parts_of(request)
    job = await parts.jobs.get(job_id, caller)
    found = await shown(request, caller, await parts.ledger.of_job(job.id), job)
    return json_response({"items": [each.model_dump() for each in found], "next": None})


async def _started(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read the first chunk now: what goes wrong with it can still be told by the status of the answer."""
    first = await anext(chunks, None)

    async def all_chunks() -> AsyncIterator[bytes]:
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk

    return all_chunks()


async def _text(chunks: AsyncIterator[LogChunk], offset: int) -> AsyncIterator[bytes]:
    """Yield what chunks of a log hold, without the first ``offset`` bytes."""
    async for chunk in chunks:
        yield chunk.data[offset:]
        offset = max(0, offset - len(chunk.data))


def _writable(media_type: str) -> str:
    """Return a media type that a header can hold; jobs name them freely."""
    return media_type if media_type.isascii() and media_type.isprintable() and media_type else BYTES
