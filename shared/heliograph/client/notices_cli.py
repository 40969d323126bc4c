"""``heliograph notices``, ``resend``, ``incident`` and ``incidents``: who was told, again, and something is wrong."""

from typing import Annotated

import typer

from heliograph.client.ledger import ANSWER, answer, standing
from heliograph.client.tables import console, print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, whole_id
from heliograph.notices.model import DeliveryStatus

_LINE = 80  # characters of a report in the list


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (notices, resend, incident, incidents):
        app.command()(command)


def notices(
    job: Annotated[str | None, typer.Argument(help="Of this job; else of all, which takes a role")] = None,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Those that stand so")] = None,
    channel: Annotated[str | None, typer.Option(help="Those over this channel, such as email")] = None,
    recipient: Annotated[str | None, typer.Option(help="Those to this recipient")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 50,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Show who was told of a job, or of anything, the newest first."""
    asked = {"status": status and status.value, "channel": channel, "recipient": recipient}
    with connected(url, token) as client:
        if job is None:
            found = client.notices_page(**asked, limit=min(most, 200))
            table = table_of("id", "about", "occasion", "channel", "recipient", "status", "reason", ANSWER)
            for _, notice in zip(range(most), found, strict=False):
                table.add_row(
                    notice.id, notice.subject, notice.occasion, notice.channel, notice.recipient, standing(notice),
                    notice.reason, answer(notice),
                )  # fmt: skip
        else:
            table = table_of("id", "occasion", "channel", "recipient", "status", "reason", ANSWER)
            for notice in client.notices(whole_id(client, job)):
                if all(value in {None, getattr(notice, name)} for name, value in asked.items()):
                    table.add_row(
                        notice.id, notice.occasion, notice.channel, notice.recipient, standing(notice), notice.reason,
                        answer(notice),
                    )  # fmt: skip
        print_table(table)


def resend(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `heliograph notices` shows it")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Have a notice sent again, whatever became of it."""
    with connected(url, token) as client:
        copy = client.resend(identifier)
        typer.echo(f"{copy.id}: copy {copy.copy_number} goes to {copy.recipient} over {copy.channel}")


def incident(
    text: Annotated[str, typer.Argument(help="What happened, in plain words")],
    job: Annotated[str | None, typer.Option(help="The job that it is about")] = None,
    title: Annotated[str | None, typer.Option(help="In a few words")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Report a problem to those who run the platform."""
    with connected(url, token) as client:
        made = client.report_incident(text, job=job and whole_id(client, job), title=title)
    if made.told:
        typer.echo(f"{made.id}: the operators are told")
    elif made.told is None:
        typer.echo(f"kept as {made.id}; no notifier runs at present: one that does tells the operators")
    else:
        typer.echo(f"kept as {made.id}; nobody is set to be told (HELIOGRAPH_INCIDENTS_TO)")


def incidents(
    identifier: Annotated[
        str | None, typer.Argument(metavar="ID", help="This report and who was told; else list them")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Show a report and whether the operators were told, or list yours; with a role, those of everybody."""
    with connected(url, token) as client:
        if identifier is None:
            table = table_of("id", "reported (UTC)", "by", "about", "title or text")
            for _, each in zip(range(most), client.incidents(limit=min(most, 200)), strict=False):
                first_line = (each.title or each.text).partition("\n")[0]
                table.add_row(each.id, f"{each.created_at:%Y-%m-%d %H:%M:%S}", each.by, each.job, first_line[:_LINE])
        else:
            found = client.incident(identifier)
            console.print(f"{found.title}: {found.text}" if found.title else found.text, soft_wrap=True)
            table = table_of("channel", "recipient", "status", ANSWER)
            for notice in found.notices:
                table.add_row(notice.channel, notice.recipient, standing(notice), answer(notice))
            if not found.notices:
                console.print("nobody is told so far")
                return
        print_table(table)
