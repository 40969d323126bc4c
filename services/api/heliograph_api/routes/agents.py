"""What agents tell of the jobs that they claimed."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.backends.errors import FatalError
from heliograph.backends.result import as_json
from heliograph.errors import InvalidInputError
from heliograph.identity.roles import Action
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.claims import Progress
from heliograph.queues.reports import Told
from heliograph.wire import BeatView, JobView, LeaseRequest, ReleaseRequest, ReportRequest, job_json
from heliograph_api.authentication import Caller
from heliograph_api.parts import parts_of
from heliograph_api.reading import body_of, judged, read_model, read_object
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["queues"])

_REFUSALS = (400, 401, 403, 404, 409, 413, 422)


@router.post(
    "/jobs/{job_id}/report", summary="Report on a claimed job", response_model=JobView,
    responses=problems(*_REFUSALS), openapi_extra=body_of(ReportRequest),
)  # fmt: skip
async def report(request: Request, caller: Caller, job_id: str) -> Response:
    """Take how a job stands or how it ended, from whoever holds its lease.

    The report that ended it may be sent again. One under a lease that is lost, or of a state that cannot follow the
    present one, changes nothing.
    """
    caller.require(Action.WORK)
    told = await read_model(request, ReportRequest)
    job = await parts_of(request).agents.report(job_id, told.lease_token, _told(told), caller)
    return json_response(job_json(job))


@router.post(
    "/jobs/{job_id}/heartbeat", summary="Show that an agent is alive", response_model=BeatView,
    responses=problems(*_REFUSALS), openapi_extra=body_of(LeaseRequest),
)  # fmt: skip
async def heartbeat(request: Request, caller: Caller, job_id: str) -> Response:
    """Renew a lease by its own length; tell whether somebody wishes the job to stop, and when its time is over."""
    caller.require(Action.WORK)
    lease = await read_model(request, LeaseRequest)
    beat = await parts_of(request).agents.heartbeat(job_id, lease.lease_token, caller)
    told = {"lease_until": beat.until, "deadline": beat.deadline, "cancel_requested": beat.cancel_requested}
    return json_response(told)


@router.post(
    "/jobs/{job_id}/release", summary="Give a claimed job back", response_model=JobView,
    responses=problems(*_REFUSALS), openapi_extra=body_of(ReleaseRequest, is_required=False),
)  # fmt: skip
async def release(request: Request, caller: Caller, job_id: str) -> Response:
    """Queue a job again as if it had not been handed out. A queue manager may do so without the token, or any body."""
    caller.require(Action.WORK)
    lease = judged(ReleaseRequest, await read_object(request, default={}))
    return json_response(job_json(await parts_of(request).agents.release(job_id, lease.lease_token, caller)))


def _told(report: ReportRequest) -> Told:
    error = report.error
    return Told(
        State(report.state) if report.state else None,
        Progress(report.progress, report.stage, report.eta_seconds, report.message),
        _small_enough(report.result),
        JobError(ErrorKind(error.kind), error.message) if error else None,
    )


def _small_enough(result: Any) -> Any:
    try:
        as_json(result)
    except FatalError as error:
        raise InvalidInputError.of("result", str(error).removeprefix("result: ")) from error
    return result
