"""Callers who are people: those whom notices can be about and for."""

from typing import Annotated

from fastapi import Depends, Request

from heliograph.errors import ForbiddenError
from heliograph.identity.identity import Identity
from heliograph.notices.reach import own_places
from heliograph_api.authentication import Caller
from heliograph_api.parts import parts_of


async def person(caller: Caller) -> Identity:  # async: FastAPI runs plain functions in a thread
    """Return who calls.

    Raises
    ------
    ForbiddenError
        No token was shown, or a queue's.
    """
    if caller.is_anonymous or caller.queue is not None:
        raise ForbiddenError("this takes a person's token: notices are for people")
    return caller


Person = Annotated[Identity, Depends(person)]


async def places_of(request: Request, caller: Identity) -> frozenset[tuple[str, str]]:
    """Return the channels and recipients that are a person's own."""
    link = await parts_of(request).linked.of_person(caller.subject)
    return own_places(caller.claims, link.rooms)
