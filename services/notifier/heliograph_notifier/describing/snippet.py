"""The Python that asks for the same again: ready to run, with the reader's own token, and without anything secret."""

from collections.abc import Iterator
from typing import Any

import orjson

from heliograph.jobs.model import Job
from heliograph.masking import MASK
from heliograph_notifier.readable import gives_access, is_secret_name

MOST_PARAMETERS = 4_000  # bytes of JSON; more would bury what the mail says, and the job's page has it
MOST_LEVELS = 12

_STEP = "    "
_DEFAULTS = {"priority": 0, "max_attempts": 3}  # of a submission, as its wire model has them


def snippet(job: Job, url: str) -> str | None:
    """Return a program that submits the job's request again; None where the request is no object, or too large.

    What looks like a secret is left out, and a comment stands in its place. For a secret parameter there are dots,
    which cannot be sent, and a comment that asks for it.
    """
    if not isinstance(job.parameters, dict) or not _is_small(job.parameters):
        return None
    call, target = ("submit", job.backend) if job.backend else ("submit_to", job.queue)
    lines = [
        "import os",
        "",
        "from heliograph.client import Client",
        "",
        'token = os.environ["HELIOGRAPH_TOKEN"]',
        f"with Client({_quoted(url)}, token) as client:",
        f"{_STEP}job = client.{call}(",
        f"{_STEP * 2}{_quoted(target)},",
        *_value(job.parameters, 2, ""),
        *(f"{_STEP * 2}{name}={_literal(value)}," for name, value in _fields(job)),
        f"{_STEP})",
        f"{_STEP}print(job.id, client.wait(job.id).state)",
    ]
    return "\n".join(lines)


def _is_small(parameters: dict[str, Any]) -> bool:
    try:
        text = orjson.dumps(parameters)
    except orjson.JSONEncodeError:  # what is no JSON, such as an integer of more than 64 bits
        return False
    # What is no number reads back as null, and could not be submitted again.
    return len(text) <= MOST_PARAMETERS and _depth(parameters) <= MOST_LEVELS and orjson.loads(text) == parameters


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _fields(job: Job) -> Iterator[tuple[str, Any]]:
    """Yield what else was asked for and still makes sense: relations to other jobs and moments do not."""
    for name in ("name", "group", "handler", "timeout_seconds", "priority", "max_attempts"):
        value = getattr(job, name)
        if value is not None and value != _DEFAULTS.get(name) and not (isinstance(value, str) and gives_access(value)):
            yield name, value


def _value(value: Any, level: int, label: str) -> Iterator[str]:
    """Yield the lines of a value: on one where it is short, else an entry a line."""
    indent = _STEP * level
    is_nested = isinstance(value, dict | list) and len(value) > 0
    if not is_nested or (not _has_secret(value) and len(_literal(value)) <= 70):
        yield f"{indent}{label}{_literal(value)},"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{indent}{label}{opening}"
    for name, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _entry(name, each, level + 1)
    yield f"{indent}{closing},"


def _entry(name: str | int, value: Any, level: int) -> Iterator[str]:
    indent = _STEP * level
    if value == MASK and not (isinstance(name, str) and gives_access(name)):
        label = f"{_quoted(name)}: " if isinstance(name, str) else ""
        yield f"{indent}{label}...,  # a secret: put yours in place of the dots"
    elif isinstance(name, str) and gives_access(name):
        yield f"{indent}# an entry is left out: its name looks like a secret"
    elif (isinstance(name, str) and is_secret_name(name)) or (isinstance(value, str) and gives_access(value)):
        called = _quoted(name) if isinstance(name, str) else f"item {name}"
        yield f"{indent}# {called} is left out: it looks like a secret"
    else:
        yield from _value(value, level, f"{_quoted(name)}: " if isinstance(name, str) else "")


def _has_secret(value: Any) -> bool:
    match value:
        case dict():
            return any(
                is_secret_name(name) or gives_access(name) or _has_secret(each) for name, each in value.items()
            )  # fmt: skip
        case list():
            return any(map(_has_secret, value))
        case str():
            return value == MASK or gives_access(value)
        case _:
            return False


def _literal(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_quoted(name)}: {_literal(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case str():
            return _quoted(value)
        case _:
            return repr(value)


def _quoted(text: str) -> str:
    """Write a string in double quotes; ``repr`` escapes line breaks, and characters that cannot be seen."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain.startswith("'") and '"' not in plain else plain
