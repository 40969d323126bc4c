"""The services as processes on a real MongoDB and a real RabbitMQ, for measuring."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from heliograph.identity.tokens import Tokens
from heliograph_standalone.mongod import Mongod
from tests.parts.rabbitmq import RabbitNode

HERE = Path(__file__).parent
START_SECONDS = 30.0


@dataclass
class Stack:
    """A running stack: the parts' addresses, a token, and the processes by name."""

    folder: Path
    mongodb_url: str
    bus_url: str
    mongod_pid: int
    broker_pid: int
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return Tokens([self.key]).sign("bench", lifetime=timedelta(hours=1))

    def start(self, name: str, command: list[str], port_variable: str, **variables: str) -> None:
        """Start a service and wait until it is ready."""
        port = self.ports[name] = free_port()
        environment = {
            **os.environ,
            "HELIOGRAPH_MONGODB_URL": self.mongodb_url,
            "HELIOGRAPH_BUS_URL": self.bus_url,
            "HELIOGRAPH_SIGNING_KEYS": self.key,
            "HELIOGRAPH_IDENTITY_KEY": self.key,
            "HELIOGRAPH_LOG_LEVEL": "warning",
            "MONGODB_URL": self.mongodb_url,
            "BUS_URL": self.bus_url,
            "SIGNING_KEY": self.key,
            port_variable: str(port),
            **variables,
        }
        command = [part.replace("{port}", str(port)) for part in command]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command], env=environment, cwd=HERE, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            if time.monotonic() > deadline or self.processes[name].poll() is not None:
                log_text = (self.folder / f"{name}.log").read_text()
                raise RuntimeError(f"{name} did not start:\n{log_text[-2000:]}")
            time.sleep(0.1)

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(30)


@contextlib.contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Run MongoDB and RabbitMQ in ``folder``; whatever is started on the stack stops with it."""
    with Mongod(folder / "mongodb") as mongod, RabbitNode(folder / "rabbitmq") as node:
        assert mongod.pid
        broker_pid = int((folder / "rabbitmq" / "pid").read_text())
        running = Stack(folder, mongod.url, node.url, mongod.pid, broker_pid)
        try:
            yield running
        finally:
            running.stop()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 404  # the baseline has no such route: it is up
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pss_megabytes(pid: int) -> float:
    """Return the proportional set size of a process, in MB (10^6 bytes): what it would free by ending."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no Pss")


def children(pid: int) -> list[int]:
    """Return the processes whose parent this is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry.name))
    return found
