"""The command line: ``heliograph``."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from heliograph.bus.topology import describe
from heliograph.client.client import Client, ProblemError
from heliograph.client.progress import follow
from heliograph.ids import short_id
from heliograph.jobs.states import State
from heliograph.wire import JobView

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Dispatch scientific work, and see what became of it."
)
# Names, stages and messages are shown as they are: "[red]" in one of them is no colour, and ":x:" no picture.
_WIDEST = 10_000  # characters
_console = Console(markup=False, emoji=False, highlight=False)

Url = Annotated[str, typer.Option(envvar="HELIOGRAPH_URL", help="Where the api is")]
Token = Annotated[str | None, typer.Option(envvar="HELIOGRAPH_TOKEN", help="Your user token")]
_URL = "http://127.0.0.1:8000"


@app.command()
def submit(
    backend: str,
    parameters: Annotated[str, typer.Argument(help="A JSON object, or @file")] = "{}",
    name: Annotated[str | None, typer.Option(help="What people call it")] = None,
    group: Annotated[str | None, typer.Option(help="What it belongs to")] = None,
    wait: Annotated[bool, typer.Option(help="Show its progress until it is over")] = False,
    url: Url = _URL,
    token: Token = None,
) -> None:
    """Submit a job."""
    with _client(url, token) as client:
        given = {name: value for name, value in {"name": name, "group": group}.items() if value}
        job = client.submit(backend, _parameters(parameters), **given)
        if wait:
            job = follow(client, job, _console)
        _show(job)
        _exit_with(job)


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="One of these states")] = None,
    backend: str | None = None,
    group: str | None = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 20,
    url: Url = _URL,
    token: Token = None,
) -> None:
    """List jobs, the newest first."""
    table = _table("id", "backend", "name", "state", "stage", "submitted", "took")
    with _client(url, token) as client:
        jobs = client.jobs(state=state, backend=backend, group=group, limit=min(most, 200))
        for _, job in zip(range(most), jobs, strict=False):
            took = f"{(job.ended_at - job.created_at).total_seconds():.1f} s" if job.ended_at else ""
            submitted = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
            table.add_row(job.id, job.backend, job.name, job.state, job.stage, submitted, took)
    _print(table)


@app.command()
def show(job: str, url: Url = _URL, token: Token = None) -> None:
    """Show a job."""
    with _client(url, token) as client:
        _show(client.job(job))


@app.command()
def wait(job: str, url: Url = _URL, token: Token = None) -> None:
    """Show a job's progress until it is over; fails where the job did not end well."""
    with _client(url, token) as client:
        job_now = follow(client, client.job(job), _console)
        _show(job_now)
        _exit_with(job_now)


@app.command()
def log(job: str, url: Url = _URL, token: Token = None) -> None:
    """Print a job's log."""
    with _client(url, token) as client:
        sys.stdout.write(client.log(job))


@app.command()
def cancel(job: str, url: Url = _URL, token: Token = None) -> None:
    """Cancel a job."""
    _each(url, token, lambda client: client.cancel(job))


@app.command()
def retry(job: str, url: Url = _URL, token: Token = None) -> None:
    """Run a job that is over once more."""
    _each(url, token, lambda client: client.retry(job))


@app.command()
def download(job: str, folder: Path = Path(), url: Url = _URL, token: Token = None) -> None:
    """Download a job's artifacts into a folder."""
    with _client(url, token) as client:
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in client.job(job).artifacts:
            target = folder / Path(artifact.name).name
            typer.echo(client.download(job, artifact.name, target))


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], url: Url = _URL, token: Token = None
) -> None:
    """Upload an input file and print its id."""
    with _client(url, token) as client:
        typer.echo(client.upload(file).id)


@app.command()
def notices(job: str, url: Url = _URL, token: Token = None) -> None:
    """Show who was told of a job."""
    with _client(url, token) as client:
        table = _table("occasion", "channel", "recipient", "status", "reason", "receipt")
        for notice in client.notices(job):
            table.add_row(
                notice.occasion, notice.channel, notice.recipient, notice.status, notice.reason, notice.receipt
            )
        _print(table)


@app.command()
def backends(url: Url = _URL, token: Token = None) -> None:
    """List what can be asked for."""
    with _client(url, token) as client:
        table = _table("name", "version", "title", "workers")
        for backend in client.backends():
            table.add_row(backend.name, backend.version, backend.title, str(backend.workers))
        _print(table)


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Whose: an e-mail address gets notices")],
    key: Annotated[str, typer.Option(envvar="HELIOGRAPH_SIGNING_KEYS", help="The signing keys, as the api has them")],
    hours: Annotated[float, typer.Option(help="How long it lasts")] = 24,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="A further claim, as name=JSON; may be repeated")] = None,
) -> None:
    """Mint a user token."""
    from heliograph.identity.tokens import (  # noqa: PLC0415 - an optional extra that only this command needs
        LEAST_KEY_BYTES,
        Tokens,
    )

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
    with _client(url, token) as client:
        _show(act(client))


@contextmanager
def _client(url: str, token: str | None) -> Iterator[Client]:
    try:
        with Client(url, token) as client:
            yield client
    except ProblemError as error:
        typer.echo(f"heliograph: {error.problem.detail}", err=True)
        faults = error.problem.errors or ()
        for fault in faults if len(faults) > 1 else ():  # a single one is what the detail says
            typer.echo(f"  {fault.field}: {fault.message}", err=True)
        raise typer.Exit(1) from error
    except httpx.TransportError as error:
        typer.echo(f"heliograph: {url} does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from error
    except (httpx.HTTPStatusError, httpx.InvalidURL, ValueError) as error:
        typer.echo(f"heliograph: {url} does not answer as Heliograph does; is this its address?", err=True)
        raise typer.Exit(1) from error


def _parameters(text: str) -> dict[str, Any]:
    try:
        source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        value = json.loads(source)
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"the parameters are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter("the parameters are not a JSON object")
    return value


def _claim(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        return name, json.loads(value) if equals else True
    except ValueError:
        return name, value


def _show(job: JobView) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("job", f"{job.id} (short {short_id(job.id)})")
    table.add_row("backend", job.backend)
    if job.name:
        table.add_row("name", job.name)
    table.add_row("state", f"{job.state}{', to be cancelled' if job.cancel_requested and not job.ended_at else ''}")
    if job.stage and not job.ended_at:
        table.add_row("stage", job.stage)
    if job.error:
        table.add_row("error", f"{job.error.kind}: {job.error.message}")
    if job.result is not None:
        table.add_row("result", json.dumps(job.result, indent=2, ensure_ascii=False))
    for artifact in job.artifacts:
        table.add_row("artifact", f"{artifact.name} ({artifact.media_type}, {artifact.bytes} bytes)")
    _print(table)


def _table(*columns: str) -> Table:
    """Return an empty table whose cells stay whole: a piece of an id is of no use."""
    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    return table


def _print(table: Table) -> None:
    """Print a table; one that is wider than the terminal is wrapped by the terminal, and never cut."""
    needed = _console.measure(table, options=_console.options.update(max_width=_WIDEST)).maximum
    if needed <= _console.width:
        _console.print(table)
    else:
        Console(markup=False, emoji=False, highlight=False, width=needed, soft_wrap=True).print(table)


def _exit_with(job: JobView) -> None:
    """End with 1 where a job has ended, and not well."""
    if job.ended_at and job.state is not State.DONE:
        raise typer.Exit(1)
