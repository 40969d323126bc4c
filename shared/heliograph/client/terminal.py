"""How every command reaches the api, and what it says where that goes wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from heliograph.client.client import Client, ProblemError
from heliograph.ids import SHORT_CHARACTERS
from heliograph.jobs.states import State
from heliograph.wire import JobView

Url = Annotated[str, typer.Option(envvar="HELIOGRAPH_URL", help="Where the api is")]
Token = Annotated[str | None, typer.Option(envvar="HELIOGRAPH_TOKEN", help="Your user token")]
DEFAULT_URL = "http://127.0.0.1:8000"


@contextmanager
def connected(url: str, token: str | None) -> Iterator[Client]:
    """Give a client to the block; what goes wrong is said in a line or two, and ends the command with 1."""
    try:
        with Client(url, token) as client:
            yield client
    except ProblemError as error:
        is_token = error.problem.status == HTTPStatus.UNAUTHORIZED
        hint = "; set HELIOGRAPH_TOKEN, or give --token" if is_token else ""
        typer.echo(f"heliograph: {error.problem.detail}{hint}", err=True)
        faults = error.problem.errors or ()
        for fault in faults if len(faults) > 1 else ():  # a single one is what the detail says
            typer.echo(f"  {fault.field}: {fault.message}", err=True)
        raise typer.Exit(1) from error
    except httpx.UnsupportedProtocol as error:
        typer.echo(f"heliograph: {url} is no address; one begins with http:// or https://", err=True)
        raise typer.Exit(1) from error
    except httpx.TransportError as error:
        typer.echo(f"heliograph: {url} does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from error
    except (httpx.HTTPStatusError, httpx.InvalidURL, ValueError) as error:
        typer.echo(f"heliograph: {url} does not answer as Heliograph does; is this its address?", err=True)
        raise typer.Exit(1) from error


def whole_id(client: Client, job: str) -> str:
    """Return a job's id, also where only its last 8 characters are given, as notices show them."""
    return client.job(job).id if len(job) == SHORT_CHARACTERS else job


def exit_with(job: JobView) -> None:
    """End the command with 1 where a job has ended, and not well."""
    if job.ended_at and job.state is not State.DONE:
        raise typer.Exit(1)


def json_object(text: str, what: str) -> dict[str, Any]:
    """Return the JSON object that an argument, ``what`` by name, states, or the file that it names as @file."""
    try:
        source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        value = json.loads(source)
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"the {what} are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"the {what} are not a JSON object")
    return value
