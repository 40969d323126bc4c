"""``heliograph notify show`` and ``set``: what the token's holder prefers to be told."""

import json
from typing import Annotated, Any

import typer

from heliograph.client.stated import stated
from heliograph.client.tables import console, print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected
from heliograph.wire.preferences import EffectiveWishes, PreferencesView

_LEFT = {name: "the platform's default" for name in EffectiveWishes.model_fields if name != "recipient"}


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
    effective = own.pop("effective")
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
    holds = table_of("channel", "what holds", "")
    for channel, wishes in effective.items():
        for name, value in _flat("", _LEFT | wishes):
            holds.add_row(channel, name, value)
    print_table(holds)


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
