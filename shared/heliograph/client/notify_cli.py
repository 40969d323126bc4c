"""``heliograph notify``: what the token's holder is told, and whether it arrives."""

import time
from typing import Annotated

import typer

from heliograph.client import preferences_cli, silence_cli
from heliograph.client.client import Client
from heliograph.client.ledger import ANSWER, answer, standing
from heliograph.client.tables import print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected
from heliograph.notices.model import OPEN, DeliveryStatus
from heliograph.wire import NoticeView
from heliograph.wire.bulletins import NoticeTestNotices
from heliograph.wire.preferences import MatrixLinkView

ANSWER_SECONDS = 10.0  # a notifier that runs looks every second
SETTLE_SECONDS = 30.0  # a mail server that is slow to take a message is waited for as long
_LOOK_SECONDS = 0.5

app = typer.Typer(no_args_is_help=True, help="See and set what you are told, mute, watch, and try whether it arrives.")
preferences_cli.register(app)
silence_cli.register(app)


@app.command()
def link(
    user: Annotated[
        str | None, typer.Argument(metavar="@USER:SERVER", help="Your Matrix user; without it, show who is linked")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Link your Matrix user, so that its rooms can be named as yours; or show which one is linked."""
    with connected(url, token) as client:
        if user is None:
            _show_link(client.matrix_link())
            return
        challenge = client.link_matrix(user)
        typer.echo(challenge.say)
        minutes = challenge.expires_in_seconds // 60
        bot = challenge.bot or "the bot"
        typer.echo(f"As {user}, invite {bot} to a room and say this there within {minutes} minutes.", err=True)


@app.command()
def unlink(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Forget your Matrix user and its rooms."""
    with connected(url, token) as client:
        client.unlink_matrix()
        typer.echo("no Matrix user is linked to you any more")


@app.command("test")
def try_channels(
    channel: Annotated[str | None, typer.Option(help="Over this channel alone, such as email")] = None,
    recipient: Annotated[str | None, typer.Option(help="To whom, with --channel; others take a role")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Send a notice over each channel, and say what became of it; fails where one did not go out."""
    with connected(url, token) as client:
        asked = client.test_notices(channel=channel, recipient=recipient)
        found = _settled(client, asked.id, channel)
    if not found.planned:
        typer.echo(f"heliograph: no notifier has answered within {ANSWER_SECONDS:g} s; does one run?", err=True)
        raise typer.Exit(1)
    shown = _of_channel(found, channel)
    table = table_of("channel", "recipient", "status", ANSWER)
    for notice in shown:
        table.add_row(notice.channel, notice.recipient, standing(notice), _said(notice))
    print_table(table)
    sent = [notice for notice in shown if notice.status is DeliveryStatus.SENT]
    if not sent:
        typer.echo("heliograph: nothing was sent", err=True)
    if not sent or any(notice.recipient for notice in shown if notice not in sent):  # without one, nobody was meant
        raise typer.Exit(1)


def _show_link(link: MatrixLinkView) -> None:
    if link.user is None:
        typer.echo("no Matrix user is linked to you")
        return
    since = f" since {link.linked_at:%Y-%m-%d %H:%M} UTC" if link.linked_at else ""
    typer.echo(f"{link.user} is linked to you{since}")
    for room in link.rooms:
        typer.echo(f"{room} is proven to be yours")
    if not link.rooms:
        typer.echo("no room is proven to be yours: write something to the bot in one")


def _settled(client: Client, identifier: str, channel: str | None) -> NoticeTestNotices:
    """Return what became of a test once all of it is settled, or as it is when that takes too long."""
    began = time.monotonic()
    while True:
        found = client.tested_notices(identifier)
        waits = any(notice.status in OPEN for notice in _of_channel(found, channel))
        if found.planned and not waits:
            return found
        if time.monotonic() - began > (SETTLE_SECONDS if found.planned else ANSWER_SECONDS):
            return found
        time.sleep(_LOOK_SECONDS)


def _of_channel(found: NoticeTestNotices, channel: str | None) -> list[NoticeView]:
    return [notice for notice in found.items if channel in {None, notice.channel}]


def _said(notice: NoticeView) -> str:
    untried = f"not tried yet; its channel rests, or is not open: {notice.reason}"
    return answer(notice) or (untried if notice.status is DeliveryStatus.PLANNED else notice.reason)
