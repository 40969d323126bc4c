"""A list's query names nothing but its filters: one that is misspelt would list everything."""

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from heliograph.admission.entry import MOST_FAULTS
from heliograph.errors import FieldError, InvalidInputError


async def _refuse_unknown(request: Request) -> None:  # async: FastAPI runs plain functions in a thread
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = {field.alias for field in route.dependant.query_params}
    unknown = [name for name in request.query_params if name not in known][:MOST_FAULTS]
    if unknown:
        raise InvalidInputError.of_all([FieldError(name, "this list knows no such filter") for name in unknown])


KNOWN_QUERY = Depends(_refuse_unknown)
