"""The command line: ``heliograph``."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from heliograph.bus.topology import describe
from heliograph.client import groups_cli, notices_cli, notify_cli, operations_cli, queues_cli, submit_cli
from heliograph.client.client import Client
from heliograph.client.progress import follow
from heliograph.client.tables import console, print_table, ran, show_backend, show_job, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, exit_with, whole_id
from heliograph.wire import JobView

KEPT_KEYS = Path(".heliograph/keys.json")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Dispatch scientific work, and see what became of it."
)
app.command("submit")(submit_cli.submit)
app.command("group")(groups_cli.show_group)
app.command("queues")(queues_cli.show_queues)
app.add_typer(queues_cli.app, name="queue")
app.add_typer(notify_cli.app, name="notify")
notices_cli.register(app)
operations_cli.register(app)


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="One of these states")] = None,
    backend: str | None = None,
    queue: Annotated[str | None, typer.Option(help="A pull queue")] = None,
    group: str | None = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List jobs, the newest first."""
    table = table_of("id", "backend or queue", "name", "state", "stage", "submitted (UTC)", "ran")
    with connected(url, token) as client:
        found = client.jobs(state=state, backend=backend, queue=queue, group=group, limit=min(most + 1, 200))
        jobs = list(islice(found, most + 1))
        if not jobs and backend is not None:
            client.backend(backend)  # says so where there is none of this name
        if not jobs and queue is not None:
            client.queue(queue)
    for job in jobs[:most]:
        submitted = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.id, job.backend or job.queue, job.name, job.state, job.stage, submitted, ran(job))
    print_table(table)
    if len(jobs) > most:
        typer.echo(f"There are more than these {most}: --most {most * 10} shows more.", err=True)


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
        exit_with(job_now)


@app.command()
def log(
    job: str,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on while it prints, until it is over")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Print a job's log."""
    with connected(url, token) as client:
        job = whole_id(client, job)
        for piece in client.follow_log(job) if follow_on else (client.log(job),):
            sys.stdout.write(piece)
            sys.stdout.flush()


@app.command()
def cancel(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Cancel a job."""
    _each(url, token, lambda client: client.cancel(whole_id(client, job)))


@app.command()
def retry(job: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Run a job that is over once more."""
    _each(url, token, lambda client: client.retry(whole_id(client, job)))


@app.command()
def download(
    job: str,
    into: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="The current folder, unless named")] = None,
    folder: Annotated[Path | None, typer.Option(help="As FOLDER")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Download a job's artifacts into a folder."""
    if into and folder:
        raise typer.BadParameter("the folder is named twice")
    folder = into or folder or Path()
    with connected(url, token) as client:
        folder.mkdir(parents=True, exist_ok=True)
        found = client.job(job)
        for artifact in found.artifacts:
            target = folder / Path(artifact.name).name
            typer.echo(client.download(found.id, artifact.name, target))


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], url: Url = DEFAULT_URL, token: Token = None
) -> None:
    """Upload an input file and print its id."""
    with connected(url, token) as client:
        typer.echo(client.upload(file).id)
        typer.echo("Give this id to a parameter that takes a file.", err=True)


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
        table = table_of("name", "version", "title", "workers", "paused")
        for backend in client.backends():
            paused = "paused" if backend.paused else ""
            table.add_row(backend.name, backend.version, backend.title, str(backend.workers), paused)
        print_table(table)


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Whose: an e-mail address gets notices")],
    key: Annotated[
        str | None,
        typer.Option(
            envvar="HELIOGRAPH_SIGNING_KEYS", help=f"The signing keys, as the api has them; else that of {KEPT_KEYS}"
        ),
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it lasts")] = 24,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="A further claim, as name=JSON; may be repeated")] = None,
) -> None:
    """Mint a user token."""
    from heliograph.identity.tokens import Tokens  # noqa: PLC0415 - an optional extra that only this command needs
    from heliograph.keys import LEAST_KEY_BYTES  # noqa: PLC0415 - reads with the above

    claims = dict(_claim(each) for each in claim or ())
    first = _first_key(key) if key else _kept_key()
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


def _first_key(keys: str) -> str:
    """Return the key that signs, of several as the api's settings have them."""
    try:
        return str(json.loads(keys)[0]) if keys.startswith("[") else keys.split(",", maxsplit=1)[0].strip()
    except (ValueError, IndexError):
        raise typer.BadParameter("the keys begin as a JSON list and are none") from None  # it would quote them


def _kept_key() -> str:
    """Return the key of the services that `make up` runs in the current folder."""
    try:
        return str(json.loads(KEPT_KEYS.read_text(encoding="utf-8"))["signing_key"])
    except (OSError, ValueError, KeyError) as error:
        message = f"give --key, or set HELIOGRAPH_SIGNING_KEYS: there is no key in {KEPT_KEYS}, where `make up` has it"
        raise typer.BadParameter(message) from error
