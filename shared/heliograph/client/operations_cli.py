"""``heliograph pause``, ``resume``, ``limit``, ``dead`` and ``replay``: for those who run the platform."""

from typing import Annotated

import typer

from heliograph.client.tables import print_table, standing, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected
from heliograph.dead.model import DeadKind
from heliograph.wire import BackendView

_DONE = {
    DeadKind.JOB: "the job is queued again",
    DeadKind.EVENT: "the event was told again",
    DeadKind.STUCK: "what the job has to tell was told again",
}


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (pause, resume, limit, dead, replay):
        app.command()(command)


def pause(backend: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Let no job of a backend be begun; what runs goes on."""
    with connected(url, token) as client:
        _say(client.pause(backend))


def resume(backend: str, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Let jobs of a backend be begun again."""
    with connected(url, token) as client:
        _say(client.resume(backend))


def limit(
    backend: str,
    total: Annotated[int | None, typer.Option(min=1, help="So many of its jobs at a time, over all workers")] = None,
    per_owner: Annotated[int | None, typer.Option(min=1, help="So many of one submitter")] = None,
    none: Annotated[bool, typer.Option("--none", help="Any number")] = False,
    stated: Annotated[bool, typer.Option("--stated", help="Those that the backend itself states, again")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Set both limits of a backend, of which one that is not named is none; or show them."""
    named = {"total": total, "per_owner": per_owner}
    is_number = any(most is not None for most in named.values())
    if is_number + none + stated > 1:
        raise typer.BadParameter("numbers, --none and --stated exclude one another")
    with connected(url, token) as client:
        if is_number or none:
            _say(client.change_backend(backend, limits=named))
        elif stated:
            _say(client.change_backend(backend, limits=None))
        else:
            _say(client.backend(backend))


def dead(
    kind: Annotated[DeadKind | None, typer.Option(help="Of this kind alone")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many")] = 50,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List what was given up, and what is stuck."""
    table = table_of("id", "kind", "backend or queue", "since (UTC)", "replay", "what")
    with connected(url, token) as client:
        found = client.dead(kind=None if kind is None else kind.value, limit=min(most, 200))
        for _, item in zip(range(most), found, strict=False):
            what = f"{item.what} ({item.error})" if item.error else item.what
            table.add_row(
                item.id, item.kind, item.backend or item.queue, f"{item.since:%Y-%m-%d %H:%M:%S}",
                "yes" if item.can_replay else "no", what,
            )  # fmt: skip
    print_table(table)


def replay(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `heliograph dead` shows it")],
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Try again what was given up."""
    with connected(url, token) as client:
        typer.echo(f"{identifier}: {_DONE[client.replay(identifier).kind]}")


def _say(backend: BackendView) -> None:
    typer.echo(f"{backend.name} is {standing(backend)}")
