"""What an operator says of a remote data server, and the model of what jobs may ask it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, field_validator, model_validator

from heliograph.admission.entry import compiled
from heliograph.backends.files import FILE_FORMAT
from heliograph_worker.backends.table import Table, bytes_of

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: a token
_OURS = {
    "accept-encoding", "connection", "content-length", "content-type", "expect", "host", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_HOST = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
_DAY = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=_DAY, allow_inf_nan=False)]


class PollTable(BaseModel):
    """How a data server says how far it is; a key within an object is written with a point, ``job.state``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url_key: str = Field(default="status_url", min_length=1)
    state_key: str = Field(default="state", min_length=1)
    result_key: str = Field(default="result", min_length=1)
    done: tuple[str, ...] = Field(default=("done", "ready", "finished", "completed", "succeeded"), min_length=1)
    failed: tuple[str, ...] = Field(default=("failed", "error", "cancelled", "aborted"), min_length=1)

    @model_validator(mode="after")
    def _one_meaning(self) -> "PollTable":
        if both := {word.lower() for word in self.done} & {word.lower() for word in self.failed}:
            raise ValueError(f"{min(both)!r} is both among done and among failed")
        return self


class HttpTable(Table):
    """What the operator says of it; times are in seconds."""

    url: str
    method: Literal["POST", "PUT"] = "POST"
    parameters: dict[str, Any] | None = None  # a JSON Schema; without one, any object goes
    parameters_file: Path | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    token_variable: str | None = Field(default=None, pattern="^[A-Za-z_][A-Za-z0-9_]*$")
    connect_seconds: Seconds = 5.0
    read_seconds: Seconds | None = None  # the time limit of the job: an answer at once may take as long as the work
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST)], ...] = ()
    allow_private: bool = False
    poll_seconds: Seconds = 10.0
    poll: PollTable = PollTable()
    largest_answer: Annotated[int, BeforeValidator(bytes_of)] = Field(default=100_000_000, ge=1)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise ValueError(f"is no address: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("is an address that begins with http:// or https://, and names a host")
        if url.userinfo:
            raise ValueError("holds a password, which people may read; token_variable names a variable that has one")
        return text

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS:
                raise ValueError(f"{name!r} is no header that can be set here")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the value of {name} holds characters that no header has")
        return headers

    @model_validator(mode="after")
    def _one_source(self) -> "HttpTable":
        if self.parameters is not None and self.parameters_file is not None:
            raise ValueError("parameters and parameters_file cannot both be given")
        return self

    def model_of_parameters(self) -> type[BaseModel]:
        """Return the model of what jobs may ask.

        Raises
        ------
        ValueError
            The JSON Schema cannot be read or used.
        """
        schema = self.parameters
        if self.parameters_file is not None:
            try:
                schema = json.loads(self.parameters_file.read_text(encoding="utf-8"))
            except OSError as error:
                raise ValueError(f"parameters_file: {self.parameters_file} cannot be read: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"parameters_file: {self.parameters_file} is no JSON: {error}") from None
        return AnyObject if schema is None else _model(schema)


class AnyObject(RootModel[dict[str, Any]]):
    """Whatever the data server takes."""


class _Described(AnyObject):
    """An object that fits a JSON Schema, which is passed on as it is."""

    described: ClassVar[dict[str, Any]]
    validator: ClassVar[Any]

    @model_validator(mode="after")
    def _fits(self) -> "_Described":
        # Judged at the door already; once more, for the api may have judged by the schema of another version.
        for error in self.validator.iter_errors(self.root):
            where = ".".join(map(str, error.instance_path))
            raise ValueError(f"{where}: {error.kind.name}" if where else error.kind.name)
        return self

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return cls.described


def _model(schema: Any) -> type[BaseModel]:
    if not isinstance(schema, dict):
        raise ValueError("parameters: is a JSON Schema, an object")  # noqa: TRY004 - of the operator's text
    if _names_files(schema):
        raise ValueError(f"parameters: a data server cannot be given files (format {FILE_FORMAT})")
    described = {"type": "object", **schema}
    try:
        validator = compiled(described)
    except ValueError as error:
        raise ValueError(f"parameters: is no JSON Schema that can be used: {error}") from None
    return type("Parameters", (_Described,), {"described": described, "validator": validator, "__doc__": None})


def _names_files(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("format") == FILE_FORMAT or any(map(_names_files, schema.values()))
    return isinstance(schema, list) and any(map(_names_files, schema))
