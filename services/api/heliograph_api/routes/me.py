"""The caller."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.identity.roles import Action
from heliograph.wire import MeView
from heliograph_api.authentication import Caller
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["me"])


@router.get("/me", summary="Read who you are", response_model=MeView, responses=problems(401))
async def me(request: Request, caller: Caller) -> Response:  # noqa: ARG001 - the framework's signature
    """Answer with the token's subject, its roles and what they allow."""
    allowed = [action.value for action in Action if caller.may(action)]
    return json_response(
        {"subject": caller.subject, "name": caller.name, "roles": sorted(caller.roles), "may": allowed}
    )
