"""``heliograph notify mute``, ``watch`` and their like: hearing less, and hearing more."""

from typing import Annotated

import typer

from heliograph.client.stated import stated
from heliograph.client.tables import print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, whole_id


def register(app: typer.Typer) -> None:
    """Add these commands to ``heliograph notify``."""
    for command in (mute, mutes, unmute, watch, watches, unwatch):
        app.command()(command)


def mute(
    about: Annotated[str | None, typer.Argument(metavar="[JOB]", help="This job")] = None,
    job: Annotated[str | None, typer.Option(help="As JOB")] = None,
    group: Annotated[str | None, typer.Option(help="This group of yours")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose group, where it is not yours")] = None,
    channel: Annotated[str | None, typer.Option(help="Over this channel alone, such as email")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="For so long; else for good")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Hear no more of a job, of a group, or of anything."""
    if about and job:
        raise typer.BadParameter("the job is named twice")
    job = about or job
    seconds = None if hours is None else hours * 3600
    with connected(url, token) as client:
        job = job and whole_id(client, job)
        made = client.mute(job=job, group=group, owner=owner, channel=channel, seconds=seconds)
        typer.echo(f"muted; to be told again: heliograph notify unmute {made.id}")


def mutes(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """List your mutes, the newest first."""
    table = table_of("id", "what", "over", "until (UTC)", "made by")
    with connected(url, token) as client:
        for each in client.mutes():
            what = each.job or each.group or "everything"
            over = each.recipient or each.channel or "every channel"
            table.add_row(each.id, what, over, f"{each.until:%Y-%m-%d %H:%M}" if each.until else "", each.made_by)
    print_table(table)


def unmute(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `heliograph notify mutes` shows it")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Remove a mute."""
    with connected(url, token) as client:
        client.unmute(identifier)
        typer.echo(f"{identifier} is removed")


def watch(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="What to be told of them: email.submitted=false"),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="A pull queue; takes a role")] = None,
    backend: Annotated[str | None, typer.Option(help="A backend; takes a role")] = None,
    group: Annotated[str | None, typer.Option(help="A group; without a role, of your own jobs")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Be told of the jobs of a queue, of a backend or of a group."""
    with connected(url, token) as client:
        made = client.watch(queue=queue, backend=backend, group=group, **stated(settings or ()))
        typer.echo(f"you are told of these jobs; to end it: heliograph notify unwatch {made.id}")


def watches(url: Url = DEFAULT_URL, token: Token = None) -> None:
    """List your watches, the newest first."""
    table = table_of("id", "queue or backend", "group", "whose jobs")
    with connected(url, token) as client:
        for each in client.watches():
            table.add_row(each.id, each.queue, each.group, each.owner or "everybody's")
    print_table(table)


def unwatch(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `heliograph notify watches` shows it")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Remove a watch."""
    with connected(url, token) as client:
        client.unwatch(identifier)
        typer.echo(f"{identifier} is removed")
