"""``heliograph submit``."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import httpx
import typer

from heliograph.client.client import Client, ProblemError
from heliograph.client.progress import follow
from heliograph.client.secrets import SecretWord, put_secrets
from heliograph.client.stated import notify_of
from heliograph.client.tables import console, show_job
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected, exit_with, json_object, whole_id
from heliograph.wire import JobView


def submit(
    backend: Annotated[str | None, typer.Argument(help="What does the work; left out with --queue")] = None,
    parameters: Annotated[str | None, typer.Argument(help="A JSON object, or @file; none is {}")] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|NAME=@FILE",
            help="A secret parameter of the backend, asked for without an echo, or read from a file (@-: from standard "
            "input); may be repeated",
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="The pull queue whose agents do the work")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it")] = None,
    group: Annotated[str | None, typer.Option(help="What it belongs to")] = None,
    after: Annotated[list[str] | None, typer.Option(help="A job that has to be done first; may be repeated")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that it may run")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first; above 0 takes a role")] = None,
    not_before: Annotated[
        str | None, typer.Option(help="Waits until then: 2030-01-31T20:00:00Z, or with another offset")
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            help="What to be told of it: false, email.done=true, a JSON object or @file; KEY=VALUE may be repeated"
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Show its progress until it is over")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print its id, and nothing else")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Submit a job: submit BACKEND [PARAMETERS], or submit --queue NAME [PARAMETERS]."""
    if queue is not None:
        if parameters is not None:
            raise typer.BadParameter("name either a backend or a queue")
        backend, parameters = None, backend
    elif backend is None:
        raise typer.BadParameter("name a backend, or a queue with --queue")
    stated = json_object(parameters or "{}", "parameters")
    words = _secret_words(secret or (), queue)
    named: dict[str, Any] = {
        "name": name, "group": group, "timeout_seconds": timeout, "priority": priority, "not_before": not_before,
        "notify": notify_of(notify or ()),
    }  # fmt: skip
    fields = {name: value for name, value in named.items() if value is not None}
    with connected(url, token) as client:
        if after:
            fields["after"] = [whole_id(client, each) for each in after]
        if backend is None:
            assert queue is not None
            job = client.submit_to(queue, stated, **fields)
        else:
            if words:
                put_secrets(stated, words, client.backend(backend).parameters_schema, backend)
            job = client.submit(backend, stated, **fields)
        if quiet:
            typer.echo(job.id)
        _warn(client, job)
        if wait:
            job = client.wait(job.id) if quiet else follow(client, job, console)
        if not quiet:
            show_job(job)
        exit_with(job)


def _secret_words(given: Iterable[str], queue: str | None) -> list[SecretWord]:
    words = [SecretWord.of(each) for each in given]
    if words and queue is not None:
        raise typer.BadParameter(
            "a pull queue takes no secrets: its agents, and whoever may see the job, would read them"
        )
    return words


def _warn(client: Client, job: JobView) -> None:
    """Say on standard error what keeps a new job from being begun; it is stored, whatever becomes of this look."""
    if job.ended_at:
        return
    with suppress(ProblemError, httpx.HTTPError):
        if job.backend is None:
            if client.queue(job.queue).paused:
                _say(f"the queue {job.queue} is paused: the job waits until it is resumed")
            return
        backend = client.backend(job.backend)
        if backend.paused:
            _say(f"{backend.name} is paused: the job waits until it is resumed")
        if not backend.workers:
            _say(f"no worker offers {backend.name} at present: the job waits for one")


def _say(warning: str) -> None:
    typer.echo(f"heliograph: {warning}", err=True)
