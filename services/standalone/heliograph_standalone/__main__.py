"""``python -m heliograph_standalone up`` and ``demo``."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from heliograph.client.terminal import DEFAULT_URL
from heliograph.logs import configure_logging
from heliograph.serving import serve
from heliograph.variables import unknown_variables
from heliograph_standalone.demo import run_demo
from heliograph_standalone.homeserver import HomeserverError
from heliograph_standalone.mongod_binary import MongodError
from heliograph_standalone.standalone import LOG_LEVEL, PortTakenError, SettingsError, Standalone
from heliograph_worker.backends.declared import BackendsFileError
from heliograph_worker.scratch import ScratchError
from heliograph_worker.undumpable import forbid_looking_inside

app = typer.Typer(add_completion=False, no_args_is_help=True, help="All of Heliograph in one process.")

Home = Annotated[Path, typer.Option(help="Where the data, the keys and the mails are kept")]


@app.command()
def up(home: Home = Path(".heliograph"), port: Annotated[int, typer.Option(help="The api's port")] = 8000) -> None:
    """Run until Ctrl-C. Data survive in the home folder."""
    configure_logging(LOG_LEVEL)
    with _explained():
        standalone = Standalone(home, port=port, on_ready=lambda: _tell(standalone, home))
        serve(standalone)


def _tell(standalone: Standalone, home: Path) -> None:
    token = standalone.tokens.sign("you@localhost", lifetime=timedelta(days=30), roles=["admin"], tem=0)
    address = "" if standalone.url == DEFAULT_URL else f"address  export HELIOGRAPH_URL={standalone.url}\n"
    ignored = f"ignored  {', '.join(standalone.ignored)}: set by this command itself\n" if standalone.ignored else ""
    unknown = "".join(
        f"unknown  {name}: no setting has this name{f', {nearest} has' if nearest else ''}\n"
        for name, nearest in unknown_variables(os.environ).items()
    )
    sys.stdout.write(
        f"api      {standalone.url}/docs\n"
        f"mails    {home / 'mail'}\n"
        f"token    export HELIOGRAPH_TOKEN={token}\n"
        f"{address}"
        f"{ignored}"
        f"{unknown}"
        f"then     . .venv/bin/activate; heliograph submit periodogram --wait\n"
        f"stop     Ctrl-C\n"
    )
    sys.stdout.flush()


@app.command()
def demo(
    results: Annotated[Path, typer.Option(help="Where the plot, the table and the mails are left")] = Path(
        ".heliograph/demo"
    ),
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Tell an encrypted room on a homeserver of its own too")
    ] = False,
) -> None:
    """Run one job on real data from submission to mail, show what came of it, and end."""
    configure_logging("warning")
    with _explained(), tempfile.TemporaryDirectory(prefix="heliograph-demo-") as home:
        is_well = uvloop.run(_demo(Path(home), results, with_room=matrix))
    raise typer.Exit(0 if is_well else 1)


async def _demo(home: Path, results: Path, *, with_room: bool) -> bool:
    task = asyncio.current_task()
    assert task
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if not with_room:
        async with Standalone(home, port=_free_port()) as standalone:
            return await run_demo(standalone, results)
    from heliograph_standalone import matrix_demo  # noqa: PLC0415 - brings the Matrix library along

    async with matrix_demo.demo_room(home / "synapse") as room:
        account = {"matrix_homeserver": room.url, "matrix_user": matrix_demo.BOT, "matrix_password": room.bot_password}
        async with Standalone(home, port=_free_port(), matrix=account) as standalone:
            return await run_demo(standalone, results, room)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Run a standalone within, and say in a sentence what keeps it from starting."""
    forbid_looking_inside()
    try:
        yield
    except MongodError as error:
        sys.exit(error.message)
    except (ScratchError, BackendsFileError, PortTakenError, SettingsError, HomeserverError) as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit(130)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    app()
