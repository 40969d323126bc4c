"""``heliograph notify show`` and ``set``: what the token's holder prefers to be told."""

import json
from typing import Annotated, Any

import typer

from heliograph.client.tables import console, print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected
from heliograph.wire.preferences import PreferencesView

_LISTS = {"working_days", "urgent"}


def register(app: typer.Typer) -> None:
    """Add these commands to ``heliograph notify``."""
    app.command()(show)
    app.command("set")(change)


def show(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Show your preferences, and what they and your token amount to."""
    with connected(url, token) as client:
        _show(client.notifications())


def change(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="As email.submitted=false, matrix.room=!abc:example.org, time_zone=Europe/Zurich, "
            "quiet_hours=22:00-07:00, working_days=monday,friday, urgent=failed; KEY= takes it back",
        ),
    ],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Set preferences: they go before your tokens, and after what a submission asks for."""
    changes: dict[str, Any] = {}
    for setting in settings:
        _put(changes, setting)
    with connected(url, token) as client:
        _show(client.set_notifications(**changes))


def _put(changes: dict[str, Any], setting: str) -> None:
    """Put one KEY=VALUE into a patch of preferences."""
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
        return {"from": begin.strip(), "to": end.strip()}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(preferences: PreferencesView) -> None:
    stated = preferences.stated()
    effective = stated.pop("effective")
    table = table_of("preference", "value")
    for name, value in _flat("", stated):
        table.add_row(name, value)
    if table.row_count:
        print_table(table)
    else:
        console.print("You have stated no preferences.")
    console.print()
    if not effective:
        console.print("Nothing says where to tell you: neither your token nor your preferences name an address.")
        return
    holds = table_of("channel", "what holds", "")
    for channel, wishes in effective.items():
        for name, value in _flat("", wishes):
            holds.add_row(channel, name, value)
    print_table(holds)
    console.print("What is not listed is left to the platform's defaults.")


def _flat(prefix: str, value: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the leaves of a JSON object by their dotted names, as ``set`` takes them."""
    found = []
    for name, each in value.items():
        if prefix + name == "quiet_hours":
            found.append((name, f"{each['from']}-{each['to']}"))
        elif isinstance(each, dict):
            found += _flat(f"{prefix}{name}.", each)
        else:
            text = ",".join(each) if isinstance(each, list) else each if isinstance(each, str) else json.dumps(each)
            found.append((prefix + name, text))
    return found
