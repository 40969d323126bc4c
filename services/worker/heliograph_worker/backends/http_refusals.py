"""What an answer that is no success says of a job: whether to try again, and in which words to tell people."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from heliograph.backends import BackendError, FatalError, TransientError, UsageError
from heliograph.backends.failures import MOST_TOLD, clean
from heliograph_worker.backends.outbound import Answer

_MOST_BYTES = 64 * 1024  # of an answer that is looked at for a reason
_WORDS = ("detail", "message", "error_message", "error", "reason", "title")
_USAGE = {400, 413, 422}
_PASSING = {408, 425, 429}
_UNKNOWN = {404, 410}


class UnknownThereError(FatalError):
    """The data server knows nothing of this work any more."""


def judge(answer: Answer, secrets: Iterable[str], *, knows_the_job: bool = False) -> None:
    """Let a success pass, and raise for any other answer.

    Parameters
    ----------
    secrets
        What the server may repeat, and is not to be shown.
    knows_the_job
        Whether the address was of work that the server had begun, so that 404 means that it is gone.

    Raises
    ------
    UsageError
        What was asked for is wrong: 400, 413 and 422.
    TransientError
        It may go well later: 408, 425, 429 and all from 500 on.
    UnknownThereError
        The work is gone.
    FatalError
        Any other answer, such as 401: the operator has to see to it.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    said = [f"{answer.url.host} answered {status} {phrase}".strip()]
    if reason := _reason(answer):
        said.append(reason)
    if after := answer.response.headers.get("retry-after"):
        said.append(f"try again after {after} s" if after.isdecimal() else f"try again after {after}")
    raise _kind(status, knows_the_job=knows_the_job)(shown(": ".join(said), secrets))


def shown(text: str, secrets: Iterable[str]) -> str:
    """Return a server's words as they may be shown: on one line, without what is secret. The worker cuts them."""
    for secret in secrets:
        text = text.replace(secret, "...")
    return clean("".join(character if character.isprintable() else " " for character in text), MOST_TOLD)


def _kind(status: int, *, knows_the_job: bool) -> type[BackendError]:
    if knows_the_job and status in _UNKNOWN:
        return UnknownThereError
    if status in _USAGE and not knows_the_job:
        return UsageError
    return TransientError if status in _PASSING or status >= 500 else FatalError


def _reason(answer: Answer) -> str:
    try:
        body = answer.read(_MOST_BYTES)
    except FatalError:
        return ""
    if answer.is_json:
        try:
            return _words_of(json.loads(body))
        except (ValueError, RecursionError):
            return ""
    return body.decode(errors="replace").strip() if answer.media_type == "text/plain" else ""


def _words_of(body: Any) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    found = next((body[word] for word in _WORDS if body.get(word)), "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
