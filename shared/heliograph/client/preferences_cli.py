"""``heliograph notify show`` and ``set``: what the token's holder prefers to be told."""

import json
from typing import Annotated, Any

import typer

from heliograph.client.stated import stated
from heliograph.client.tables import console, print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected
from heliograph.wire.preferences import ChannelDefaults, PreferencesView

_LEFT = "the platform's default"


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
    changes = stated(settings)
    with connected(url, token) as client:
        _show(client.set_notifications(**changes))


def _show(preferences: PreferencesView) -> None:
    own = preferences.stated()
    effective, defaults = own.pop("effective"), own.pop("defaults")
    table = table_of("preference", "value")
    for name, value in _flat("", own):
        table.add_row(name, value)
    if table.row_count:
        print_table(table)
    else:
        console.print("You have stated no preferences.")
    console.print()
    if not effective:
        console.print("Nothing says where to tell you: neither your token nor your preferences name an address.")
        return
    missing = [channel for channel in effective if defaults and channel not in defaults]
    holds = table_of("channel", "what holds", "")
    for channel, wishes in effective.items():
        left = _left(defaults.get(channel, {})) if channel not in missing else {}
        for name, value in _flat("", {"recipient": wishes["recipient"]} | left | wishes):
            holds.add_row(channel, name, value)
    print_table(holds)
    for channel in missing:
        typer.echo(f"heliograph: nothing is sent over {channel} here: it is not set up", err=True)


def _left(defaults: dict[str, Any]) -> dict[str, str]:
    """Return in words what is left to the platform, with its values as far as they are known."""
    known = {name: f"{_text(value)} ({_LEFT})" for name, value in defaults.items()}
    return dict.fromkeys(ChannelDefaults.model_fields, _LEFT) | known


def _flat(prefix: str, value: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the leaves of a JSON object by their dotted names, as ``set`` takes them."""
    found = []
    for name, each in value.items():
        if prefix + name == "quiet_hours":
            found.append((name, f"{each['from']}-{each['to']}"))
        elif isinstance(each, dict):
            found += _flat(f"{prefix}{name}.", each)
        else:
            found.append((prefix + name, _text(each)))
    return found


def _text(value: Any) -> str:
    """Return a value as ``set`` takes it."""
    match value:
        case str():
            return value
        case list():
            return ",".join(value)
        case float():
            return f"{value:.10g}"
        case _:
            return json.dumps(value)
