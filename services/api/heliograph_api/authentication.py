"""Who calls: the bearer token of a request."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from heliograph.errors import UnauthenticatedError
from heliograph.identity.identity import ANONYMOUS, Identity
from heliograph.identity.queue_tokens import PREFIX
from heliograph_api.parts import parts_of

# Only so that the OpenAPI document names the scheme; the header is read below, where errors are ours to word.
bearer = HTTPBearer(auto_error=False, description="A user token (JWT), or a queue's token")


async def caller(request: Request) -> Identity:  # async: FastAPI runs plain functions in a thread
    """Return who calls.

    Raises
    ------
    UnauthenticatedError
        The token is missing (where anonymous access is off), or it does not hold.
    """
    parts = parts_of(request)
    header = request.headers.get("authorization")
    if not header:
        if parts.settings.allow_anonymous:
            return ANONYMOUS
        raise UnauthenticatedError("a token is needed: Authorization: Bearer <token>")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("the Authorization header is not of the form: Bearer <token>")
    token = token.strip()
    return await parts.queue_tokens.verify(token) if token.startswith(PREFIX) else parts.tokens.verify(token)


Caller = Annotated[Identity, Depends(caller)]
