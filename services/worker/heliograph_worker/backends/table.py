"""What every table of the operator's file may say, whatever kind of backend it declares."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from heliograph.backends import Backend, JobContext, Limits, Retry
from heliograph.backends.backend import LEAST_MEMORY

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_HOUR = 3600.0
_YEAR = 365 * 24 * _HOUR


def bytes_of(given: object) -> object:
    """Return a size in bytes: a number as it is, a text such as ``2 GB`` (2,000,000,000) or ``2 GiB`` as a number."""
    if not isinstance(given, str):
        return given
    match = _MEMORY.fullmatch(given.strip())
    if not match:
        raise ValueError('is a number of bytes, or a text such as "500 MB", "2 GB" or "2 GiB"')
    return int(float(match[1]) * _UNITS[match[2]])


class LimitsTable(BaseModel):
    """How many of its jobs run at a time; see ``heliograph.backends.Limits``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    total: int | None = Field(default=None, ge=1)
    per_owner: int | None = Field(default=None, ge=1)
    per_worker: int | None = Field(default=None, ge=1)


class Table(BaseModel):
    """The keys that all kinds share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str = Field(default="", max_length=10_000)
    version: str = "1"
    timeout: float = Field(default=_HOUR, gt=0, le=_YEAR, allow_inf_nan=False)  # seconds
    memory: Annotated[int | None, BeforeValidator(bytes_of)] = Field(default=None, ge=LEAST_MEMORY)
    roles: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    limits: LimitsTable = LimitsTable()
    retry: Literal["off", "default"] = "default"

    def check_worker(self) -> None:
        """Look, when the worker starts, for what the table's jobs need there; ``ValueError`` says what is missing."""

    def backend(
        self, name: str, parameters: type[BaseModel], function: Callable[[Any, JobContext], Any], *, about: str
    ) -> Backend:
        """Make the backend; ``about`` describes it where the operator does not.

        Raises
        ------
        ValueError
            Its name or its version is none.
        """
        return Backend(
            name=name,
            version=self.version,
            title=self.title or name,
            description=self.description or about,
            parameters=parameters,
            function=function,
            timeout=timedelta(seconds=self.timeout),
            retry=Retry(kinds=frozenset()) if self.retry == "off" else Retry(),
            roles=self.roles,
            limits=Limits(**self.limits.model_dump()),
            memory=self.memory,
        )


class EntrustedTable(Table):
    """A backend that runs what its caller wrote: for named roles alone, and as a user of its own."""

    roles: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    user: str = Field(min_length=1)
