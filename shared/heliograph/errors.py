"""The root of every error that a service tells a client of, with its HTTP status and its short code."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault: a dotted path (``parameters.period``) and what is wrong with it."""

    field: str
    message: str


class HeliographError(Exception):
    """Something went wrong; the class says what, its docstring is the default message."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "internal"

    def __init__(self, message: str | None = None, *, errors: tuple[FieldError, ...] = ()) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.errors = errors
        super().__init__(self.message)


class InvalidInputError(HeliographError):
    """The request does not fit what is asked for; its errors name the fields."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid-input"

    @classmethod
    def of(cls, field: str, message: str) -> "InvalidInputError":
        """Make the error for a single field."""
        return cls.of_all([FieldError(field, message)])

    @classmethod
    def of_all(cls, errors: Sequence[FieldError]) -> "InvalidInputError":
        """Make one error of several fields at fault; its message tells the first."""
        first = errors[0]
        detail = f"{first.field}: {first.message}" if first.field else first.message
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return cls(detail + more, errors=tuple(errors))


class MalformedBodyError(HeliographError):
    """The body is not JSON as this service takes it."""

    status = HTTPStatus.BAD_REQUEST
    code = "malformed-body"


class BodyTooLargeError(HeliographError):
    """The body is larger than this service takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "body-too-large"


class UnauthenticatedError(HeliographError):
    """A valid token is needed."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"


class ForbiddenError(HeliographError):
    """Your roles do not allow this."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class NotFoundError(HeliographError):
    """There is no such thing, or it is not yours to see."""

    status = HTTPStatus.NOT_FOUND
    code = "not-found"


class ConflictError(HeliographError):
    """The present state does not allow this."""

    status = HTTPStatus.CONFLICT
    code = "conflict"


class TooManyError(HeliographError):
    """You have done so too often of late; try again later."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too-many"


class UnavailableError(HeliographError):
    """A part that this needs is away; try again with the same Idempotency-Key."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
