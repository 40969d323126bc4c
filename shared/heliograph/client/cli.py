"""The command line: ``heliograph``."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from heliograph.bus.topology import describe
from heliograph.client import groups_cli, operations_cli, queues_cli
from heliograph.client.client import Client
from heliograph.client.progress import follow
from heliograph.client.tables import console, print_table, ran, show_backend, show_job, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, json_object
from heliograph.jobs.states import State
from heliograph.wire import JobView

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Dispatch scientific work, and see what became of it."
)
app.command("group")(groups_cli.show_group)
app.command("queues")(queues_cli.show_queues)
app.add_typer(queues_cli.app, name="queue")
operations_cli.register(app)


@app.command()
def submit(
    backend: str,
    parameters: Annotated[str, typer.Argument(help="A JSON object, or @file")] = "{}",
    name: Annotated[str | None, typer.Option(help="What people call it")] = None,
    group: Annotated[str | None, typer.Option(help="What it belongs to")] = None,
    after: Annotated[list[str] | None, typer.Option(help="A job that has to be done first; may be repeated")] = None,
    wait: Annotated[bool, typer.Option(help="Show its progress until it is over")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Submit a job."""
    with connected(url, token) as client:
        named: dict[str, Any] = {"name": name, "group": group, "after": after}
        given = {name: value for name, value in named.items() if value}
        job = client.submit(backend, json_object(parameters, "parameters"), **given)
        if wait:
            job = follow(client, job, console)
        show_job(job)
        _exit_with(job)


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="One of these states")] = None,
    backend: str | None = None,
    group: str | None = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List jobs, the newest first."""
    table = table_of("id", "backend", "name", "state", "stage", "submitted (UTC)", "ran")
    with connected(url, token) as client:
        jobs = client.jobs(state=state, backend=backend, group=group, limit=min(most, 200))
        for _, job in zip(range(most), jobs, strict=False):
            submitted = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
            table.add_row(job.id, job.backend, job.name, job.state, job.stage, submitted, ran(job))
    print_table(table)


@app.command()
def show(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Show a job."""
    with connected(url, token) as client:
        show_job(client.job(job))


@app.command()
def wait(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Show a job's progress until it is over; fails where the job did not end well."""
    with connected(url, token) as client:
        job_now = follow(client, client.job(job), console)
        show_job(job_now)
        _exit_with(job_now)


@app.command()
def log(
    job: str,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on while it prints, until it is over")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Print a job's log."""
    with connected(url, token) as client:
        for piece in client.follow_log(job) if follow_on else (client.log(job),):
            sys.stdout.write(piece)
            sys.stdout.flush()


@app.command()
def cancel(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Cancel a job."""
    _each(url, token, lambda client: client.cancel(job))


@app.command()
def retry(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Run a job that is over once more."""
    _each(url, token, lambda client: client.retry(job))


@app.command()
def download(job: str, folder: Path = Path(), url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Download a job's artifacts into a folder."""
    with connected(url, token) as client:
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in client.job(job).artifacts:
            target = folder / Path(artifact.name).name
            typer.echo(client.download(job, artifact.name, target))


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], url: Url = DEFAULT_URL, token: Token = None
) -> None:
    """Upload an input file and print its id."""
    with connected(url, token) as client:
        typer.echo(client.upload(file).id)
        typer.echo("Give this id to a parameter that takes a file.", err=True)


@app.command()
def notices(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Show who was told of a job."""
    with connected(url, token) as client:
        table = table_of("occasion", "channel", "recipient", "status", "reason", "receipt")
        for notice in client.notices(job):
            table.add_row(
                notice.occasion, notice.channel, notice.recipient, notice.status, notice.reason, notice.receipt
            )
        print_table(table)


@app.command()
def backends(
    name: Annotated[str | None, typer.Argument(help="One of them, with its parameters")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List what can be asked for, or show what one backend takes."""
    with connected(url, token) as client:
        if name is not None:
            show_backend(client.backend(name))
            return
        table = table_of("name", "version", "title", "workers")
        for backend in client.backends():
            table.add_row(backend.name, backend.version, backend.title, str(backend.workers))
        print_table(table)


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Whose: an e-mail address gets notices")],
    key: Annotated[str, typer.Option(envvar="HELIOGRAPH_SIGNING_KEYS", help="The signing keys, as the api has them")],
    hours: Annotated[float, typer.Option(help="How long it lasts")] = 24,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="A further claim, as name=JSON; may be repeated")] = None,
) -> None:
    """Mint a user token."""
    from heliograph.identity.tokens import Tokens  # noqa: PLC0415 - an optional extra that only this command needs
    from heliograph.keys import LEAST_KEY_BYTES  # noqa: PLC0415 - reads with the above

    claims = dict(_claim(each) for each in claim or ())
    first = json.loads(key)[0] if key.startswith("[") else key.split(",")[0].strip()
    if len(first.encode()) < LEAST_KEY_BYTES:
        raise typer.BadParameter(f"the key is too short: a signing key has at least {LEAST_KEY_BYTES} bytes")
    typer.echo(Tokens([first]).sign(subject, lifetime=timedelta(hours=hours), roles=role or (), **claims))


@app.command()
def topology() -> None:
    """Print every exchange, queue and binding of the bus."""
    typer.echo(describe())


def main() -> None:
    """Run the command line."""
    app()


def _each(url: str, token: str | None, act: Callable[[Client], JobView]) -> None:
    with connected(url, token) as client:
        show_job(act(client))


def _claim(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        return name, json.loads(value) if equals else True
    except ValueError:
        return name, value


def _exit_with(job: JobView) -> None:
    """End with 1 where a job has ended, and not well."""
    if job.ended_at and job.state is not State.DONE:
        raise typer.Exit(1)
