"""A parameter that is a file: its caller names an upload, its backend gets a local path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

FILE_FORMAT = "heliograph-file"
INPUTS = "inputs"  # the key, in the validation context, of the mapping from upload id to local path


def _local_path(value: object, info: ValidationInfo) -> object:
    """Replace an upload's id by its path; without a mapping (a test, a notebook) the value is a path already."""
    context = info.context
    if not isinstance(context, Mapping) or INPUTS not in context:
        return value
    inputs: Mapping[str, Path] = context[INPUTS]
    if not isinstance(value, str) or value not in inputs:
        raise ValueError("names no upload of this job")
    return str(inputs[value])


InputFile = Annotated[
    Path, BeforeValidator(_local_path), WithJsonSchema({"type": "string", "format": FILE_FORMAT}, mode="validation")
]
