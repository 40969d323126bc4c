"""A private RabbitMQ node for tests: its own folder, ports, cookie and port mapper; nothing outlives its owner.

It runs the inner script of Debian's package (or a generic-unix folder's on PATH), because the outer one changes user
and drops the environment; so it works for root and for anybody else.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.parts.freezing import freeze
from tests.parts.ports import free_port

_INNER_SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server")
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_START_SECONDS = 60.0  # 6 s on a quiet machine
_STOP_SECONDS = 20.0  # a clean end takes 6 s
_Process: TypeAlias = "subprocess.Popen[bytes]"
# Linux watches the *thread* that started a process; this one lasts as long as the tests, whoever calls ``start``.
_PARENT = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parent-of-rabbitmq")


def rabbitmq_available() -> str | None:
    """Return why no private node can be started here, or None."""
    if _script() is None:
        return "RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)"
    missing = [tool for tool in ("epmd", "setpriv") if shutil.which(tool) is None]
    return f"{' and '.join(missing)} not found on PATH" if missing else None


class RabbitNode:
    """A node whose queues live in ``folder``, so that it can be stopped, killed and started again on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._node: _Process | None = None
        self._mapper: _Process | None = None
        self.port, self._distribution_port, self._mapper_port, self._management_port = (free_port() for _ in range(4))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the node on its folder; return when AMQP and the management interface answer."""
        if self._node is not None:
            return
        for name in ("home", "log"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "plugins").write_text("[rabbitmq_management].\n")
        (self._folder / "rabbit.conf").write_text(
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self._management_port}\n"
            "management_agent.disable_metrics_collector = true\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        try:
            self._mapper = _spawn(["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"], dict(os.environ))
            with (self._folder / "log" / "console.log").open("ab") as console:
                self._node = _spawn([str(_script())], self._environment(), console.fileno())
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the node cleanly (SIGTERM), or by force where it does not end."""
        if self._node is not None:
            self._node.send_signal(signal.SIGCONT)
            self._node.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._node.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the node at once (SIGKILL), as a power cut would."""
        for process in (self._node, self._mapper):
            if process is not None:
                process.kill()
                process.wait()
        self._node = self._mapper = None

    def restart(self) -> None:
        """Stop and start on the same folder and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the node: connections stay open and nothing answers."""
        freeze(self._process.pid)

    def resume(self) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def queues(self) -> set[str]:
        """Return the name of every queue."""
        return {queue["name"] for queue in self._manage("GET", "/api/queues?disable_stats=true")}

    def delete_queue(self, name: str) -> None:
        """Delete a queue under whoever consumes it."""
        self._manage("DELETE", f"/api/queues/%2F/{quote(name, safe='')}")

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange under whoever publishes to it."""
        self._manage("DELETE", f"/api/exchanges/%2F/{quote(name, safe='')}")

    def close_connections(self) -> None:
        """Cut every client off."""
        for connection in self._manage("GET", "/api/connections"):
            with suppress(HTTPError):  # it has gone by itself
                self._manage("DELETE", f"/api/connections/{quote(connection['name'], safe='')}")

    def clear(self) -> None:
        """Delete every queue of heliograph's, so that one test does not see another's messages."""
        deadline = time.monotonic() + _START_SECONDS
        while ours := [name for name in self.queues() if name.startswith("heliograph.")]:
            for name in ours:
                # The queue of a process that was killed just now is not to be deleted: it goes with its connection.
                with suppress(HTTPError):
                    self.delete_queue(name)
            if time.monotonic() > deadline:
                raise TimeoutError(f"these queues stay: {', '.join(ours)}")

    @property
    def _process(self) -> _Process:
        if self._node is None:
            raise RuntimeError("the node is not running")
        return self._node

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        return inherited | {
            "HOME": str(self._folder / "home"),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": "heliograph@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "no-environment-file"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbit"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            # no busy waiting: tests share the machine's cores with the node
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "detached": "true",  # makes the script exec Erlang, so that signals reach the node itself
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if (code := self._process.poll()) is not None:
                raise RuntimeError(f"RabbitMQ ended with code {code}; see {self._folder / 'log'}")
            if _answers_amqp(self.port) and _is_listening(self._management_port):
                return
            time.sleep(0.05)
        raise TimeoutError(f"RabbitMQ did not answer within {_START_SECONDS:.0f} s; see {self._folder / 'log'}")

    def _manage(self, method: str, path: str) -> Any:
        request = Request(f"http://127.0.0.1:{self._management_port}{path}", method=method)
        request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")  # guest:guest, which only localhost may use
        with urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None


def _script() -> Path | None:
    return next((path for path in map(Path, _INNER_SCRIPTS) if path.exists()), None)


def _spawn(command: list[str], environment: dict[str, str], output: int = subprocess.DEVNULL) -> _Process:
    def spawn() -> _Process:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],  # Linux ends it when the tests go, however they go
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, not for the node
        )

    return _PARENT.submit(spawn).result()


def _is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers_amqp(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(_PROTOCOL_HEADER)
        return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    return False
