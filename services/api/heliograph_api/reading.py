"""Bodies that are read by the route itself, after the caller is known: judged by their model, and documented."""

from itertools import islice
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from heliograph.admission.entry import MOST_FAULTS
from heliograph.errors import FieldError, InvalidInputError
from heliograph.wire.faults import words_of
from heliograph_api.body import parse_json, read_body
from heliograph_api.parts import parts_of

Body = TypeVar("Body", bound=BaseModel)


async def read_model(request: Request, model: type[Body]) -> Body:
    """Return the body as this model; raises as ``read_object`` and ``judged`` do."""
    return judged(model, await read_object(request))


async def read_object(request: Request, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the body, a JSON object, or ``default`` where there is one and the body is empty.

    Raises as ``read_json`` does.
    """
    data = await read_body(request, parts_of(request).settings.most_body_bytes)
    if not data and default is not None:
        return default
    body = parse_json(data)
    if not isinstance(body, dict):
        raise InvalidInputError.of("", "the body is not a JSON object")
    return body


def judged(model: type[Body], body: dict[str, Any]) -> Body:
    """Return a JSON object as this model; raises ``InvalidInputError`` naming fields at fault."""
    try:
        return model.model_validate(_shortened(model, body))
    except ValidationError as error:
        raise InvalidInputError.of_all([
            FieldError(".".join(map(str, fault["loc"])), words_of(model, fault))
            for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]
        ]) from error  # fmt: skip


def body_of(
    model: type[BaseModel], media_type: str = "application/json", *, is_required: bool = True
) -> dict[str, Any]:
    """Return what the OpenAPI document says of a route that reads such a body; ``documentation`` adds the model."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": is_required, "content": {media_type: {"schema": schema}}}}


def _shortened(model: type[BaseModel], body: dict[str, Any]) -> dict[str, Any]:
    """Leave out names beyond the faults that are told: Pydantic takes 5 us for each, and a body can hold 100,000."""
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    known = {name: body[name] for name in names if name in body}
    unknown = islice((name for name in body if name not in known), MOST_FAULTS + 1)
    return {name: _few(model, names[name], value) for name, value in known.items()} | dict.fromkeys(unknown)


def _few(model: type[BaseModel], name: str, value: Any) -> Any:
    """Shorten, likewise, what a field takes as a model of its own."""
    annotation = model.model_fields[name].annotation
    for each in (annotation, *get_args(annotation)):
        if isinstance(value, dict) and isinstance(each, type) and issubclass(each, BaseModel):
            return _shortened(each, value)
    return value
