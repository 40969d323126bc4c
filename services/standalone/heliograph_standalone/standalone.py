"""The three services in one process: a MongoDB of their own, the in-process bus, mail caught on loopback."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from heliograph.bus.memory import MemoryBus
from heliograph.identity.tokens import Tokens
from heliograph.serving import Service
from heliograph.settings import PREFIX, SecretFileError, ServiceSettings, explain
from heliograph.storage import Database
from heliograph_api.app import create_app
from heliograph_api.server import Server, config
from heliograph_api.settings import ApiSettings
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings
from heliograph_standalone.catcher import MailCatcher
from heliograph_standalone.keys import Keys
from heliograph_standalone.mongod import Mongod
from heliograph_worker.app import Worker
from heliograph_worker.settings import WorkerSettings

HOST = "127.0.0.1"
LOG_LEVEL = "info"
DRAIN_SECONDS, GRACE_SECONDS = 3, 3  # somebody waits at the keyboard; what is not over by then is handed back
MONGODB_URL = "HELIOGRAPH_MONGODB_URL"  # a MongoDB to use instead of one of our own
MAIL_FROM = "HELIOGRAPH_MAIL_FROM"

Settings = TypeVar("Settings", bound=ServiceSettings)


class PortTakenError(Exception):
    """The api cannot listen on its port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken: stop what listens there, or choose another: make up PORT={port + 1}")


class SettingsError(Exception):
    """A service cannot start as its settings are."""


class Standalone(Service):
    """Everything in one process; an asynchronous context manager that starts and stops it.

    Parameters
    ----------
    home
        The folder for the data, the keys, the mails and the jobs' working folders.
    port
        The api's port.
    matrix
        The settings of a Matrix account, by their names; without any, rooms are not spoken to.
    on_ready
        Called once everything runs.
    """

    def __init__(
        self, home: Path, *, port: int = 8000, matrix: Mapping[str, str] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._matrix = matrix or {}
        self._home = home
        self._port = port
        self._on_ready = on_ready
        self._ignored: set[str] = set()
        self.mails = MailCatcher(home / "mail")
        home.mkdir(parents=True, exist_ok=True)
        self._keys = Keys.keep_in(home)
        self.tokens = Tokens([self._keys.signing_key])

    @property
    def url(self) -> str:
        """Where the api is."""
        return f"http://{HOST}:{self._port}"

    @property
    def ignored(self) -> list[str]:
        """The variables that are set and do not count, since a standalone sets these itself; known once it runs."""
        return sorted(self._ignored)

    def _settings(self, kind: type[Settings], own: Mapping[str, Any]) -> Settings:
        """Return a service's settings: its own by the environment, and before them what a standalone sets.

        Raises
        ------
        SettingsError
            They are wrong; its message says which, and what each is for.
        """
        names = {f"{PREFIX}{name.upper()}{end}" for name in own for end in ("", "_FILE")}
        self._ignored |= names.intersection(os.environ) - {MONGODB_URL}
        try:
            return kind.model_validate(own)
        except ValidationError as error:
            raise SettingsError(explain(kind, error)) from error
        except SecretFileError as error:
            raise SettingsError(f"heliograph cannot start:\n  {error}") from error

    async def _start(self) -> None:
        stack = self._stack
        listener = stack.enter_context(_listen(self._port))
        mongodb_url = os.environ.get(MONGODB_URL)
        if not mongodb_url:
            mongodb_url = await stack.enter_async_context(_mongod(self._home / "mongodb"))
        await stack.enter_async_context(self.mails)
        database = await stack.enter_async_context(Database(mongodb_url))
        bus = await stack.enter_async_context(MemoryBus())
        shared = {
            "mongodb_url": mongodb_url,
            "bus_url": "memory://",
            "public_url": self.url,
            "log_level": LOG_LEVEL,
        }
        api = self._settings(
            ApiSettings,
            {
                **shared,
                "host": HOST,
                "port": self._port,
                "signing_keys": (self._keys.signing_key,),
                "identity_key": self._keys.identity_key,
                "link_keys": (self._keys.link_key,),
                "seal_keys": (self._keys.seal_key,),
            },
        )
        notifier = self._settings(
            NotifierSettings,
            {
                **shared,
                "smtp_url": self.mails.url,
                **({} if MAIL_FROM in os.environ else {"mail_from": "Heliograph <heliograph@localhost>"}),
                "link_keys": (self._keys.link_key,),
                "seal_keys": (self._keys.seal_key,),
                "metrics_host": HOST,
                "metrics_port": None,
                **self._matrix,
            },
        )
        worker = self._settings(
            WorkerSettings,
            {
                **shared,
                "identity_key": self._keys.identity_key,
                "link_keys": (self._keys.link_key,),
                "seal_keys": (self._keys.seal_key,),
                "scratch": self._home / "scratch",
                "metrics_host": HOST,
                "metrics_port": None,
                "drain_seconds": DRAIN_SECONDS,
                "grace_seconds": GRACE_SECONDS,
            },
        )
        # The api comes before the worker, so that it tells of nothing that it cannot show; the worker stops first.
        app = create_app(api, database=database, bus=bus)
        server = _Server(app, config(app, api))
        await stack.enter_async_context(server.serving(listener))
        await stack.enter_async_context(Notifier(notifier, database=database, bus=bus))
        await stack.enter_async_context(Worker(worker, database=database, bus=bus))
        await app.state.parts.registry.refresh()  # it looks every two seconds, and somebody may submit at once
        self._on_ready()


def _listen(port: int) -> socket.socket:
    """Take the port before anything else is started."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise PortTakenError(port) from error


@contextlib.asynccontextmanager
async def _mongod(folder: Path) -> AsyncIterator[str]:
    """Run a MongoDB of our own; starting and stopping it blocks, so a thread does that."""
    mongod = Mongod(folder)
    await asyncio.to_thread(mongod.start)
    try:
        yield mongod.url
    finally:
        await asyncio.to_thread(mongod.stop)


class _Server(Server):
    """uvicorn as a part of this process, which looks after signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve within the block; entered once requests are taken."""
        task = asyncio.create_task(self.serve(sockets=[listener]))
        try:
            while not self.started:
                if task.done():
                    await task
                await asyncio.sleep(0.01)
            yield
        finally:
            self.should_exit = True
            await asyncio.gather(task, return_exceptions=True)
