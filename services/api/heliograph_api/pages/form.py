"""What a page's form sends."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from heliograph.errors import InvalidInputError
from heliograph_api.body import read_body

MOST_BYTES = 256 * 1024  # 20,000 characters, each of four bytes, each byte written as %F0
_MOST_FIELDS = 20
_FORM = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """Return a form's fields, the last of a name; a body that is none of our forms (RFC 8058 allows others) is empty.

    Raises
    ------
    BodyTooLargeError, InvalidInputError
        It is too large, or has more fields than any form of ours.
    """
    body = await read_body(request, MOST_BYTES)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise InvalidInputError("this form has more fields than it was shown with") from error
