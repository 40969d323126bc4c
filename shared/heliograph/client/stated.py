"""KEY=VALUE words of the command line, as the JSON object that they state."""

import json
import re
from collections.abc import Iterable
from typing import Any

import typer

from heliograph.client.terminal import json_object

_LISTS = {"working_days", "urgent"}
_HOURS = re.compile(r"\s*\d\d:\d\d\s*-\s*\d\d:\d\d\s*")
_EVERYTHING_OR_NOTHING = {"true": True, "false": False}


def stated(settings: Iterable[str]) -> dict[str, Any]:
    """Return what words such as ``email.done=true`` state together; ``KEY=`` is null."""
    found: dict[str, Any] = {}
    for setting in settings:
        _put(found, setting)
    return found


def notify_of(words: Iterable[str]) -> dict[str, Any] | bool | None:
    """Return a submission's ``notify``: true or false, a JSON object, or KEY=VALUE words; None where none are given."""
    given = list(words)
    if not given:
        return None
    if len(given) == 1 and given[0] in _EVERYTHING_OR_NOTHING:
        return _EVERYTHING_OR_NOTHING[given[0]]
    if len(given) == 1 and given[0].startswith(("{", "@")):
        return json_object(given[0], "wishes")
    return stated(given)


def _put(changes: dict[str, Any], setting: str) -> None:
    """Put one KEY=VALUE into an object."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{setting} is not of the form KEY=VALUE")
    place = changes
    *outer, name = key.split(".")
    for each in outer:
        place = place.setdefault(each, {})
        if not isinstance(place, dict):
            raise typer.BadParameter(f"{each} is set twice")
    place[name] = _value(key, text)


def _value(key: str, text: str) -> Any:
    if not text:
        return None
    if key in _LISTS:
        return [each.strip() for each in text.split(",")]
    if key == "quiet_hours":
        begin, _, end = text.partition("-")
        if not _HOURS.fullmatch(text):
            raise typer.BadParameter("quiet hours are written as quiet_hours=22:00-07:00")
        return {"from": begin.strip(), "to": end.strip()}
    try:
        return json.loads(text)
    except ValueError:
        return text
