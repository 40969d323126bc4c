"""The ledger of notices, over all that they are about; and trying whether they arrive."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.errors import ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action, roles_that_may
from heliograph.ids import new_id
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.campaigns import CampaignSubjects
from heliograph.notices.claims import claimed_wishes, time_zone_of
from heliograph.notices.model import DeliveryStatus, Subject, SubjectKind, Wish
from heliograph.notices.reach import reached, require_own
from heliograph.wire import NoticePage, NoticeView
from heliograph.wire.bulletins import NoticeTestNotices, NoticeTestRequest, NoticeTestView
from heliograph_api.addressees import shown
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
from heliograph_api.person import Person, places_of
from heliograph_api.reading import body_of, read_model
from heliograph_api.reporting import report
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["notices"])


@router.get(
    "/notices", summary="List notices", response_model=NoticePage, responses=problems(401, 403, 422),
    dependencies=[KNOWN_QUERY],
)  # fmt: skip
async def list_notices(
    request: Request,
    caller: Caller,
    status: Annotated[DeliveryStatus | None, Query(description="Where they stand")] = None,
    state: Annotated[DeliveryStatus | None, Query(description="The same as `status`")] = None,
    channel: str | None = None,
    recipient: str | None = None,
    subject: Annotated[
        str | None, Query(description="What they are about: `job:…`, `group:…`, `incident:…` or `test:…`")
    ] = None,
    group: Annotated[
        str | None, Query(description="About this group of the caller's as a whole: how it began, failed and ended")
    ] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List the newest first; for those who may see everybody's jobs.

    Everybody may read with `group` what became of the notices of a group of theirs. Who may not see everybody's jobs
    reads the address of those to them; of others only what they are, such as `operators`.
    """
    if group is None and not caller.may(Action.SEE_ALL):
        who = ", ".join(roles_that_may(Action.SEE_ALL))
        raise ForbiddenError(
            "to list the notices of everybody takes one of these roles: "
            f"{who}; name a job of yours (GET /v1/jobs/ID/notices, `heliograph notices ID`), or a group with `group`"
        )
    if group is not None and subject is not None:
        raise InvalidInputError.of("group", "name a group or a subject, not both")
    if status and state and status is not state:
        raise InvalidInputError.of("state", "this is another word for `status`, and they differ")
    parts = parts_of(request)
    subjects = None if subject is None else [_subject(subject)]
    if group is not None:
        subjects = await CampaignSubjects(parts.database).of_group(caller.subject, group)
    # Whoever is not told an address cannot find it out by asking for it either: what they are shown is sifted.
    sought = recipient if caller.may(Action.SEE_ALL) else None
    page = await parts.ledger.page(
        status=status or state, channel=channel, recipient=sought, subjects=subjects, limit=limit, cursor=cursor
    )
    found = await shown(request, caller, page.deliveries)
    items = [each.model_dump() for each in found if recipient in {None, each.recipient}]
    return json_response({"items": items, "next": page.next})


@router.post(
    "/notices/test", summary="Try whether notices arrive", status_code=201, response_model=NoticeTestView,
    responses=problems(400, 401, 403, 413, 422, 429), openapi_extra=body_of(NoticeTestRequest),
)  # fmt: skip
async def try_channels(request: Request, caller: Person) -> Response:
    """Send a notice that says that notices arrive, on each channel or on one.

    Where it goes is what the preferences and the token name. `GET /v1/notices/test/{id}` tells what became of it.
    """
    parts = parts_of(request)
    asked = await read_model(request, NoticeTestRequest)
    bulletin = Bulletin(
        new_id(), SubjectKind.TEST, caller.subject, await parts.database.now(),
        wishes=await _tested(request, caller, asked), time_zone=time_zone_of(caller.claims),
    )  # fmt: skip
    await report(parts, bulletin, f"test|{caller.subject}")
    answer = {"id": bulletin.id, "subject": str(bulletin.subject)}
    return json_response(answer, 201, {"Location": f"/v1/notices/test/{bulletin.id}"})


@router.get(
    "/notices/test/{test_id}", summary="Read what became of a test", response_model=NoticeTestNotices,
    responses=problems(401, 403, 404),
)  # fmt: skip
async def read_test(request: Request, caller: Person, test_id: str) -> Response:
    """Answer with its notices; for who made it, and those who may see everybody's jobs."""
    parts = parts_of(request)
    found = await parts.bulletins.get(test_id)
    is_theirs = found.by == caller.subject or caller.may(Action.SEE_ALL)
    if found.kind is not SubjectKind.TEST or not is_theirs:
        raise NotFoundError(f"there is no test {test_id}")
    notices = await shown(request, caller, await parts.ledger.of_subject(found.subject))
    items = [each.model_dump() for each in notices]
    return json_response({"id": found.id, "planned": found.planned_at is not None, "items": items})


@router.post(
    "/notices/{notice_id}/resend", summary="Send a notice again", status_code=201, response_model=NoticeView,
    responses=problems(401, 403, 404, 409),
)  # fmt: skip
async def resend(request: Request, caller: Caller, notice_id: str) -> Response:
    """Plan a copy of a notice that is settled, whatever became of it; the recipient can tell it from the first."""
    caller.require(Action.RESEND)
    copy = await parts_of(request).ledger.resend(notice_id, caller.subject)
    return json_response(NoticeView.from_delivery(copy).model_dump(), 201)


def _subject(text: str) -> Subject:
    try:
        return Subject.of(text)
    except ValueError as error:
        kinds = ", ".join(f"{kind}:…" for kind in SubjectKind)
        raise InvalidInputError.of("subject", f"this is no subject; one is written as {kinds}") from error


async def _tested(request: Request, caller: Identity, asked: NoticeTestRequest) -> tuple[Wish, ...]:
    """Return where a test goes."""
    if asked.recipient is not None:
        assert asked.channel is not None, "a recipient is of a channel"
        places = await places_of(request, caller)
        require_own(caller, places, "recipient", asked.channel, asked.recipient)
        own = caller.subject if (asked.channel, asked.recipient) in places else None
        return (Wish(asked.channel, asked.recipient, person=own),)
    preferences = await parts_of(request).preferences.get(caller.subject)
    wishes = reached(claimed_wishes(caller.claims), preferences)
    if asked.channel is None:
        return wishes
    found = tuple(wish for wish in wishes if wish.channel == asked.channel)
    if not found:
        raise InvalidInputError.of(
            "channel", f"nothing says where to tell you over {asked.channel}: neither your token nor your preferences"
        )
    return found
