"""The ledger of notices, over all jobs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heliograph.identity.roles import Action
from heliograph.notices.model import DeliveryStatus
from heliograph.wire import NoticePage, NoticeView
from heliograph_api.authentication import Caller
from heliograph_api.known_query import KNOWN_QUERY
from heliograph_api.parts import parts_of
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
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List the newest first; for those who may see everybody's jobs."""
    caller.require(Action.SEE_ALL)
    page = await parts_of(request).ledger.page(status=status, limit=limit, cursor=cursor)
    items = [NoticeView.from_delivery(each).model_dump() for each in page.deliveries]
    return json_response({"items": items, "next": page.next})
