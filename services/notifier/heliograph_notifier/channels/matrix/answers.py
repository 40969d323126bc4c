"""What the homeserver's answers mean for what was to be sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from heliograph.channels import Refused, SendError, TryLater

UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN"  # noqa: S105 - an error code
FORBIDDEN = "M_FORBIDDEN"
NOT_FOUND = "M_NOT_FOUND"
_TOO_OFTEN = "M_LIMIT_EXCEEDED"
_MOST_MILLISECONDS = 3_600_000


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, and its body where that is a JSON object, else an empty one."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, response: Any) -> "Answer":
        """Read an answer that nio took in; its errors have lost their body."""
        body = {
            "errcode": getattr(response, "status_code", None), "error": getattr(response, "message", None),
            "retry_after_ms": getattr(response, "retry_after_ms", None),
        }  # fmt: skip
        return cls(response.transport_response.status, {name: value for name, value in body.items() if value})

    @property
    def is_ok(self) -> bool:
        """Whether the server did it."""
        return self.status == HTTPStatus.OK

    def value(self, name: str) -> str:
        """Return what an answer has to hold; ``TryLater`` where it does not: then a proxy answered."""
        found = self.body.get(name)
        if not isinstance(found, str):
            raise TryLater(f"the homeserver's answer (HTTP {self.status}) has no {name}", slow_channel=True)
        return found

    @property
    def code(self) -> str:
        """The Matrix error code; empty where it states none: then a proxy answered."""
        return str(self.body.get("errcode", ""))

    @property
    def words(self) -> str:
        """What the server says, for people."""
        said = " ".join(str(word) for word in (self.code, self.body.get("error")) if word)
        return said or f"HTTP {self.status}"

    @property
    def after_seconds(self) -> float | None:
        """For how long the server wants to be left alone, an hour at most; None where it says nothing sensible."""
        milliseconds = self.body.get("retry_after_ms")
        if isinstance(milliseconds, int | float) and milliseconds >= 0:  # which what is not a number is not
            return min(milliseconds, _MOST_MILLISECONDS) / 1000
        return None


def failure(answer: Answer, account: str) -> SendError:
    """Return what an answer other than 200 means for a message of ``account`` to a room.

    The server refuses what it gives a Matrix error code for, except where it speaks of itself or of now. What has no
    code comes from a proxy before it.
    """
    if answer.code == _TOO_OFTEN or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return TryLater(answer.words, slow_channel=True, after_seconds=answer.after_seconds)
    if answer.status == HTTPStatus.FORBIDDEN and answer.code == FORBIDDEN:
        return Refused(f"{answer.words}; invite {account} into the room and let it speak there")
    is_final = answer.status in {
        HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    }  # fmt: skip
    if is_final and answer.code:
        return Refused(answer.words)
    return TryLater(answer.words, slow_channel=True)
