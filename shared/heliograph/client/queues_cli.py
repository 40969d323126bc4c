"""``heliograph queues`` and ``heliograph queue``: pull queues, for those who manage them."""

from typing import Annotated

import typer

from heliograph.client.tables import print_table, show_job, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, json_object, whole_id
from heliograph.wire import QueueView

_MINUTE = "%Y-%m-%d %H:%M"

app = typer.Typer(no_args_is_help=True, help="Declare a pull queue, pause it, take back what is held, issue tokens.")


def show_queues(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """List pull queues and what is in them."""
    with connected(url, token) as client:
        _show(client.queues())


@app.command()
def declare(
    name: str,
    rules: Annotated[
        str,
        typer.Argument(help='All rules as a JSON object, or @file: {"once": "ever", "lease_seconds": null}'),
    ] = "{}",
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Declare a queue, or state its rules anew: what is left out gets its default."""
    with connected(url, token) as client:
        _show([client.declare_queue(name, **json_object(rules, "rules"))])


@app.command()
def pause(name: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Let nothing be claimed from a queue."""
    with connected(url, token) as client:
        _show([client.pause_queue(name)])


@app.command()
def resume(name: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Let jobs be claimed from a queue again."""
    with connected(url, token) as client:
        _show([client.resume_queue(name)])


@app.command()
def release(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Take a job back from an agent that is gone: it waits again, or is cancelled where that was wished."""
    with connected(url, token) as client:
        show_job(client.release(whole_id(client, job)))


@app.command("token")
def issue_token(
    name: str,
    description: Annotated[str, typer.Argument(help="Whose it is, for whoever has to revoke it one day")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Issue a token for the agents of a queue, and print it: it cannot be read again."""
    with connected(url, token) as client:
        issued = client.issue_token(name, description)
        typer.echo(issued.token)
        typer.echo(f"Keep it: it is not shown again. To revoke it: heliograph queue revoke {issued.id}", err=True)


@app.command()
def tokens(
    name: Annotated[str | None, typer.Argument(help="Of this queue alone")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List tokens of queues, the oldest first."""
    table = table_of("id", "queue", "whose", "issued (UTC)", "expires", "last used", "revoked")
    with connected(url, token) as client:
        for each in client.tokens(name):
            times = (each.created_at, each.expires_at, each.last_used_at, each.revoked_at)
            table.add_row(each.id, each.queue, each.description, *(f"{at:{_MINUTE}}" if at else "" for at in times))
    print_table(table)


@app.command()
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `heliograph queue tokens` shows it")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Let a token be taken no more, within 5 s everywhere."""
    with connected(url, token) as client:
        client.revoke_token(identifier)
        typer.echo(f"{identifier} is revoked")


@app.command()
def delete(name: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Forget a queue in which nothing waits or is held, and revoke its tokens; its jobs stay."""
    with connected(url, token) as client:
        client.delete_queue(name)
        typer.echo(f"{name} is gone, and its tokens are revoked")


def _show(queues: list[QueueView]) -> None:
    table = table_of("name", "title", "queued", "claimed", "running", "oldest", "paused")
    for queue in queues:
        numbers = (str(number) for number in (queue.queued, queue.claimed, queue.running))
        oldest = queue.oldest_queued_seconds
        waits = "" if oldest is None else f"{oldest:.0f} s"
        table.add_row(queue.name, queue.title, *numbers, waits, "paused" if queue.paused else "")
    print_table(table)
