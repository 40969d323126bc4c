"""A throw-away Matrix homeserver: a real Synapse as a child process, on loopback, its data gone with its folder."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

HOST = "127.0.0.1"
SERVER_NAME = "demo.local"
PYTHON = "HELIOGRAPH_SYNAPSE_PYTHON"  # an interpreter that has matrix-synapse; by default that of .synapse-venv
START_SECONDS = 60.0  # 1.5 s on two idle cores
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
_LAST_WORDS = 1_500

_UNLIMITED = {"per_second": 10_000, "burst_count": 10_000}
# The new interpreter asks the kernel to kill it with its parent, then becomes the homeserver. 1 is PR_SET_PDEATHSIG.
_BECOME_SYNAPSE = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
runpy.run_module("synapse.app.homeserver", run_name="__main__", alter_sys=True)
"""


class HomeserverError(Exception):
    """There is no homeserver, for a reason that the message gives."""


@contextlib.asynccontextmanager
async def homeserver(folder: Path) -> AsyncIterator[str]:
    """Run a homeserver within the block and yield its URL; whoever asks may register on it.

    Raises
    ------
    HomeserverError
        It is not installed, or does not start.
    """
    port = _free_port()
    process = _spawn(folder, port)
    try:
        await _started(process, f"http://{HOST}:{port}", folder)
        yield f"http://{HOST}:{port}"
    finally:
        await asyncio.to_thread(_stop, process)


def _spawn(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start it from this thread, which lives as long as the process: the kernel watches the parent's thread."""
    python = Path(os.environ.get(PYTHON, ".synapse-venv/bin/python"))
    if not python.exists():
        raise HomeserverError(f"{python} does not exist: make demo MATRIX=1 sets it up, and {PYTHON} names another")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "homeserver.yaml").write_text(json.dumps(_configuration(port)), encoding="utf-8")  # JSON is YAML
    with (folder / "synapse.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - the interpreter that the operator names, and words of our own
            [python.absolute(), "-c", _BECOME_SYNAPSE, "-c", "homeserver.yaml"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


async def _started(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    async with httpx.AsyncClient() as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while process.poll() is None:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get(f"{url}/health")).status_code == httpx.codes.OK:
                            return
                    await asyncio.sleep(POLL_SECONDS)
    words = (folder / "synapse.log").read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
    raise HomeserverError(f"Synapse does not start:\n{words}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _configuration(port: int) -> dict[str, object]:
    listener = {"port": port, "bind_addresses": [HOST], "type": "http", "resources": [{"names": ["client"]}]}
    return {
        "server_name": SERVER_NAME,
        "public_baseurl": f"http://{HOST}:{port}/",
        "report_stats": False,
        "listeners": [listener],  # no federation: nothing but this machine is spoken to
        "database": {"name": "sqlite3", "args": {"database": "homeserver.db"}},
        "signing_key_path": "signing.key",
        "media_store_path": "media",
        "macaroon_secret_key": secrets.token_hex(16),
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "rc_message": _UNLIMITED,
        "rc_registration": _UNLIMITED,
        "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
