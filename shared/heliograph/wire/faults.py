"""What is wrong with a body, in words for whoever wrote it."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

_WORDS = {
    "bool_type": "say true or false",
    "missing": "this is required",
    "too_short": "name at least one",
}


def words_of(model: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """Return what one of Pydantic's errors over ``model`` says, in our words where these are better."""
    if fault["type"] == "extra_forbidden":
        known = _model_at(model, fault["loc"][:-1]).model_fields.items()
        return f"there is no such field; there are: {', '.join(field.alias or name for name, field in known)}"
    if fault["type"] == "string_too_short":
        least = fault.get("ctx", {}).get("min_length", 1)
        return "this must not be empty" if least == 1 else f"this takes at least {least} characters"
    return _WORDS.get(fault["type"]) or str(fault["msg"]).removeprefix("Value error, ")


def _model_at(model: type[BaseModel], place: Iterable[str | int]) -> type[BaseModel]:
    """Return the model of what stands at a place; numbers of items and tags of unions lead no deeper."""
    for part in place:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            model = _model_in(fields[str(part)].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
