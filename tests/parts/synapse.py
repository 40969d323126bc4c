"""A throw-away Synapse homeserver: SQLite in a folder, one loopback port, no federation."""

import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from tests.parts.ports import free_port

ROOT = Path(__file__).parents[2]
SERVER_NAME = "hs.test"
_START_SECONDS = 60.0  # 1.5 s on a quiet machine
_UNLIMITED = {"per_second": 10_000, "burst_count": 10_000}
_RELAXED = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_joins_per_room": _UNLIMITED,
    "rc_invites": {"per_room": _UNLIMITED, "per_user": _UNLIMITED, "per_issuer": _UNLIMITED},
    "rc_room_creation": _UNLIMITED,
    "rc_key_requests": _UNLIMITED,
    "rc_presence": {"per_user": _UNLIMITED},
    "rc_profile": _UNLIMITED,
}
_LISTENER = {"bind_addresses": ["127.0.0.1"], "type": "http", "resources": [{"names": ["client"]}]}


def synapse_python() -> Path:
    """The interpreter that has matrix-synapse installed."""
    return Path(os.environ.get("HELIOGRAPH_SYNAPSE_PYTHON", ROOT / ".synapse-venv" / "bin" / "python"))


def synapse_missing() -> str | None:
    """Why there can be no homeserver, or None where there can."""
    python = synapse_python()
    return None if python.exists() else f"{python} does not exist; HELIOGRAPH_SYNAPSE_PYTHON may name another"


@dataclass(frozen=True, slots=True)
class User:
    """A registered user, logged in once."""

    id: str
    password: str
    token: str
    device: str


class Synapse:
    """A homeserver; ``stop`` and ``start`` keep its rooms and its port.

    ``changes`` are laid over its configuration: ``{"rc_message": {"per_second": 0.2, "burst_count": 3}}``.
    """

    def __init__(self, folder: Path, changes: dict[str, Any] | None = None) -> None:
        self._folder = folder
        self._changes = changes or {}
        self.port = free_port()
        self._secret = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = {**self._configuration(), **self._changes}
        (self._folder / "homeserver.yaml").write_text(json.dumps(configuration))  # JSON is YAML
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers."""
        if self._process:
            return
        with (self._folder / "stdout.log").open("ab") as log:
            self._process = subprocess.Popen(
                [synapse_python(), "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"],
                cwd=self._folder, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "SYNAPSE_CACHE_FACTOR": "0.5"},
            )  # fmt: skip
        last = time.monotonic() + _START_SECONDS
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > last:
                self.stop()
                raise RuntimeError(f"Synapse does not start:\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its port refuses connections."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self._folder / "stdout.log").read_text(errors="replace")

    def register(self, name: str, *, is_admin: bool = False) -> User:
        """Register a user; the nonce and its MAC are what ``registration_shared_secret`` asks for."""
        password = secrets.token_hex(8)
        path = "/_synapse/admin/v1/register"
        nonce = self.get(path)["nonce"]
        words = (nonce, name, password, "admin" if is_admin else "notadmin")
        mac = hmac.new(self._secret.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
        answer = self.request(
            "POST", path,
            {"nonce": nonce, "username": name, "password": password, "admin": is_admin, "mac": mac},
        ).raise_for_status().json()  # fmt: skip
        return User(answer["user_id"], password, answer["access_token"], answer["device_id"])

    def request(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        """Speak to it without any library."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=30)

    def get(self, path: str, token: str | None = None) -> Any:
        return self.request("GET", path, token=token).raise_for_status().json()

    def event(self, room: str, event: str, token: str) -> dict[str, Any]:
        """Return an event as it lies on the server: its type there, its content, and what relates to it."""
        found: dict[str, Any] = self.get(f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event)}", token)
        return found

    def events(self, room: str, token: str) -> list[dict[str, Any]]:
        """Return a room's last 100 events as they lie on the server, the oldest first."""
        found = self.get(f"/_matrix/client/v3/rooms/{quote(room)}/messages?dir=b&limit=100", token)["chunk"]
        return list(reversed(found))

    def _is_healthy(self) -> bool:
        try:
            return self.request("GET", "/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _configuration(self) -> dict[str, Any]:
        return {
            "server_name": SERVER_NAME,
            "public_baseurl": f"{self.url}/",
            "report_stats": False,
            "listeners": [{**_LISTENER, "port": self.port}],
            "database": {"name": "sqlite3", "args": {"database": "homeserver.db"}},
            "signing_key_path": "signing.key",
            "media_store_path": "media",
            "macaroon_secret_key": self._secret,
            "form_secret": self._secret,
            "registration_shared_secret": self._secret,
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "url_preview_enabled": False,
            "bcrypt_rounds": 4,
            **_RELAXED,
        }
