"""What an exception of a backend says about its job: the same in a worker's child process and in an author's tests."""

import asyncio
import traceback
from dataclasses import replace
from datetime import timedelta
from types import TracebackType

from pydantic import ValidationError

from heliograph.backends.errors import BackendError, Cancelled
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind

# Characters of one text that leave a job's process. Secrets are masked in them before they are cut to what people read.
MOST_TOLD = 64 * 1024
_LONGEST_MESSAGE = 2_000  # characters; it is read by people, in a mail or a row of a table
_LONGEST_TRACEBACK = 20_000
_CALLERS = ("heliograph.backends.", "heliograph.testing.", "heliograph_worker.child.", "asyncio.")
_OF_A_BACKEND = {ErrorKind.USAGE, ErrorKind.TRANSIENT, ErrorKind.FATAL}


def clean(text: str, longest: int) -> str:
    """Return text that can be stored and sent: valid Unicode, not too long."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    return text.encode(errors="backslashreplace").decode()


def describe(error: BaseException, *, stop_asked: bool) -> tuple[ErrorKind, str, str | None]:
    """Return kind, message and traceback of what ended a job, the texts whole: see ``shortened``.

    Never fails, whatever the exception does when asked.
    """
    match error:
        case BackendError():
            kind = error.kind if error.kind in _OF_A_BACKEND else ErrorKind.FATAL
            return kind, _message(error, named=False), None
        case Cancelled() | asyncio.CancelledError() if stop_asked:
            return ErrorKind.CANCELLED, "it stopped when asked to", None
        case MemoryError():
            return ErrorKind.FATAL, "the backend ran out of memory", _traceback(error)
        case SystemExit():
            return ErrorKind.FATAL, clean(f"the backend called sys.exit({error.code!a})", MOST_TOLD), _traceback(error)
    return ErrorKind.FATAL, _message(error, named=True), _traceback(error)


def shortened(error: JobError) -> JobError:
    """Return an error as it is kept with a job."""
    return replace(
        error,
        message=clean(error.message, _LONGEST_MESSAGE),
        traceback=error.traceback and clean(error.traceback, _LONGEST_TRACEBACK),
    )


def describe_invalid(error: ValidationError) -> str:
    """Say which parameters are wrong, without repeating their values: those may be secret."""
    problems = (
        f"{'.'.join(('parameters', *map(str, problem['loc'])))}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return clean("; ".join(problems), MOST_TOLD)


def ran_too_long(limit: timedelta) -> str:
    """Say that a job was ended at its time limit."""
    return f"it ran longer than its limit of {limit.total_seconds():,g} s"


def held_too_long(limit: timedelta) -> str:
    """Say that a job was ended at its time limit, and that who held it never began it, as far as they said."""
    return f"it was held for longer than its limit of {limit.total_seconds():,g} s, and never said to be running"


def _message(error: BaseException, *, named: bool) -> str:
    name = type(error).__qualname__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a backend's exception may fail at anything
        text = "(its text cannot be had: __str__ failed)"
    if named or not text:
        text = f"{name}: {text}" if text else name
    return clean(text, MOST_TOLD)


def _traceback(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(type(error), error, _outside(error.__traceback__)))
    except Exception as failure:  # noqa: BLE001 - as above
        text = f"(the traceback cannot be had: {type(failure).__qualname__})"
    return clean(text, MOST_TOLD)


def _outside(frames: TracebackType | None) -> TracebackType | None:
    """Skip the frames of those who call a backend: its author looks for their own."""
    inner = frames
    while inner and str(inner.tb_frame.f_globals.get("__name__", "")).startswith(_CALLERS):
        inner = inner.tb_next
    return inner or frames
