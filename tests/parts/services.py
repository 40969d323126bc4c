"""The services as processes of their own, on real parts: a test starts, kills, freezes and stops them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from heliograph.identity.tokens import Tokens
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import OPEN
from tests.parts.freezing import freeze
from tests.parts.jobs import Stores, open_stores
from tests.parts.notifier import ADA, until
from tests.parts.ports import free_port
from tests.parts.smtp import MailServer

ROOT = Path(__file__).parents[2]
KEYS = {
    "signing_keys": "a key of the tests that signs nothing else",
    "identity_key": "another key of the tests that signs nothing",
    "link_keys": "a third key of the tests that signs links alone",
}
AWAY = "database away, waiting for it"
BACKEND = "drill"
_BACKENDS = "tests.faults.backends"
_ENTRY_POINTS = "[heliograph.backends]\n" + "".join(
    f"{name} = {_BACKENDS}:{name}\n" for name in (BACKEND, "narrow", "outside")
)
LEASE_SECONDS = 30  # none is lost because a busy machine lets its holder wait
BRIEF_SECONDS = 3  # the lease of a process that is to die: a test need not wait for half a minute to see it lost
_START_SECONDS = 60.0  # 2 s on a quiet machine
_END_SECONDS = 60.0
_LAST_LINES = 60
_Process: TypeAlias = "subprocess.Popen[bytes]"


class Service:
    """One service; ``start`` runs ``python -m heliograph_<kind>`` with these settings, always on the same port."""

    def __init__(self, kind: str, name: str, folder: Path, settings: dict[str, object]) -> None:
        self._kind = kind
        self.name = name
        self.port = free_port()
        port = "port" if kind == "api" else "metrics_port"
        host = "host" if kind == "api" else "metrics_host"
        self._settings = settings | {host: "127.0.0.1", port: self.port}
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._process: _Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    async def start(self, **settings: object) -> None:
        """Start it, with these settings besides its own, and return once it is ready."""
        self.launch(**settings)
        await self.until_ready()

    def launch(self, **settings: object) -> None:
        """Start it and do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # Linux ends it when the tests go, however they go.
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", f"heliograph_{self._kind}"],
                env=environment(self._folder, self._settings | settings), cwd=self._folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    async def until_ready(self, seconds: float = _START_SECONDS) -> None:
        await self.until_status(httpx.codes.OK, seconds)

    async def until_status(self, status: int, seconds: float = _START_SECONDS) -> httpx.Response:
        """Return the answer to a look at its readiness once that has this status."""
        # One client, since to make one takes longer than to ask.
        async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=self.url, timeout=15) as http:
            while True:
                assert self.code() is None, f"{self.name} ended with {self.code()}:\n{self.last_lines()}"
                with suppress(httpx.TransportError):
                    answer = await http.get("/readyz")
                    if answer.status_code == status:
                        return answer
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=15) as http:
            return await http.get(path)

    def code(self) -> int | None:
        """Return how it ended (the negated signal, where it was one), or None while it runs."""
        return self._process.poll() if self._process else 0

    async def ended(self, seconds: float = _END_SECONDS) -> int:
        """Return how it ended, once it has."""
        process = self._process
        assert process is not None
        return await asyncio.to_thread(process.wait, seconds)

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self, seconds: float = _END_SECONDS) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(seconds)

    def suspend(self) -> None:
        """Freeze it, as a machine that swaps does: its children run on."""
        freeze(self.pid)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def log(self) -> list[dict[str, Any]]:
        """Return what it logged, a mapping for each line; what is no line of ours has the level ``raw``."""
        lines = self._text().splitlines(keepends=True)
        return [_parsed(line) for line in lines if line.endswith("\n")]  # the last one may be half written

    def warnings(self) -> list[str]:
        return [line["event"] for line in self.log() if line["level"] == "warning"]

    def complaints(self) -> list[str]:
        """Return the lines that tell of a defect, such as a traceback."""
        return [str(line) for line in self.log() if line["level"] in {"error", "critical", "raw"}]

    def last_lines(self) -> str:
        return "\n".join(self._text().splitlines()[-_LAST_LINES:])

    def _text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Stage:
    """The three services on one database and one broker, a mail server, and a person, Ada, who has a token."""

    def __init__(self, folder: Path, stores: Stores, mongodb_url: str, bus_url: str, mails: MailServer) -> None:
        self.folder = folder
        self.stores = stores
        self.mails = mails
        name = stores.database.raw.name
        self._settings: dict[str, object] = {"mongodb_url": mongodb_url, "mongodb_database": name, "bus_url": bus_url}
        self._runs = folder / "runs"
        self._http: httpx.AsyncClient | None = None
        # Every completion is told, and so is every submission.
        self.claims: dict[str, Any] = {"tem": 0, "intsub": 0}
        self.services: list[Service] = []
        self.api = self._add("api", "api", **KEYS)
        self.worker = self.another_worker("worker")
        self.notifier = self.another_notifier("notifier")

    def another_notifier(self, name: str, **settings: object) -> Service:
        return self._add(
            "notifier", name, smtp_url=self.mails.url, mail_from="Heliograph <heliograph@example.org>",
            send_lease_seconds=LEASE_SECONDS, **settings,
        )  # fmt: skip

    def another_worker(self, name: str) -> Service:
        return self._add(
            "worker", name, worker_name=name, slots=4, lease_seconds=LEASE_SECONDS, grace_seconds=2,
            scratch=self.folder / f"scratch-{name}", identity_key=KEYS["identity_key"], link_keys=KEYS["link_keys"],
        )  # fmt: skip

    async def start(self, **worker: object) -> None:
        """Start the api, the worker, with these settings besides its own, and the notifier."""
        self.api.launch()
        self.worker.launch(**worker)
        self.notifier.launch()
        for service in (self.api, self.worker, self.notifier):
            await service.until_ready()

    async def close(self) -> None:
        """End what runs and show what it said, which pytest prints where the test failed."""
        if self._http:
            await self._http.aclose()
        for service in self.services:
            if service.code() is None:
                await service.kill()
            sys.stdout.write(f"---- {service.name}\n{service.last_lines()}\n")

    @property
    def http(self) -> httpx.AsyncClient:
        """Ada's client of the api."""
        if self._http is None:
            token = Tokens((KEYS["signing_keys"],)).sign(ADA, lifetime=timedelta(hours=1), **self.claims)
            self._http = httpx.AsyncClient(
                base_url=self.api.url, headers={"Authorization": f"Bearer {token}"}, timeout=60
            )
        return self._http

    async def post(
        self,
        *,
        backend: str = BACKEND,
        key: str | None = None,
        notify: Any = True,
        max_attempts: int = 3,
        **parameters: Any,
    ) -> httpx.Response:
        """Submit a drill, and return the api's answer."""
        parameters = {"runs": self._runs, **parameters}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
        headers = {"Idempotency-Key": key} if key else {}
        body = {"backend": backend, "parameters": plain, "notify": notify, "max_attempts": max_attempts}
        return await self.http.post("/v1/jobs", json=body, headers=headers)

    async def submit(self, **parameters: Any) -> str:
        """Submit a drill, and return its id."""
        await self.announced()
        answer = await self.post(**parameters)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["id"])

    async def announced(self) -> None:
        """Return once a worker has told of its backends."""
        await until(self._is_announced)

    async def cancel(self, job: str) -> httpx.Response:
        return await self.http.post(f"/v1/jobs/{job}/cancel")

    async def job(self, job: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/jobs/{job}")
        return dict(answer.raise_for_status().json())

    async def over(self, job: str, seconds: float = 60.0) -> dict[str, Any]:
        """Return the job once it is over, as the api shows it."""
        answer = await self.http.get(f"/v1/jobs/{job}", params={"wait": seconds}, timeout=seconds + 10)
        found: dict[str, Any] = answer.raise_for_status().json()
        assert found["ended_at"], f"the job is {found['state']} after {seconds} s"
        return found

    async def in_state(self, job: str, state: str, seconds: float = 60.0) -> None:
        """Return once the job is in this state."""

        async def holds() -> bool:
            return bool((await self.stores.stored(job))["state"] == state)

        await until(holds, seconds)

    async def at_work(self, job: str, attempt: int = 1) -> None:
        """Return once the job's own code runs."""
        await until_true(lambda: attempt in self.begun(job))

    async def settled(self, seconds: float = 60.0) -> None:
        """Return once nothing is left to be done: no job, no event that waits for the bus, no notice to be sent."""
        await until(self._is_settled, seconds)

    def begun(self, job: str) -> list[int]:
        """Return the attempts that began, in order."""
        return self._marks(job, "begun")

    def returned(self, job: str) -> list[int]:
        """Return the attempts whose code came to its end."""
        return self._marks(job, "returned")

    def most_at_once(self) -> int:
        """Return how many attempts that returned were at work at a time; one that was killed says no more."""
        lines = [line.split() for line in self._runs.read_text().splitlines()]
        returned = {(job, attempt) for job, attempt, what in lines if what == "returned"}
        at_work = most = 0
        for job, attempt, what in lines:
            if (job, attempt) in returned:
                at_work += 1 if what == "begun" else -1
                most = max(most, at_work)
        return most

    def letters(self) -> Counter[tuple[str, str]]:
        """Return how often each mail arrived: by its occasion, and its job's id in lower case."""
        return Counter((_occasion(mail["Subject"]), _job(mail["References"])) for mail in self.mails.mails)

    async def history(self, job: str) -> list[tuple[str, str]]:
        """Return the job's changes: the state, and who made the change."""
        return [(entry["state"], entry["by"]) for entry in (await self.stores.stored(job))["history"]]

    def complaints(self) -> list[str]:
        """Return what any service said of a defect."""
        return [f"{service.name}: {line}" for service in self.services for line in service.complaints()]

    async def _is_settled(self) -> bool:
        busy = {
            "$or": [
                {"ended_at": {"$exists": False}}, {"outbox.0": {"$exists": True}}, {"notices_due.0": {"$exists": True}}
            ]
        }  # fmt: skip
        deliveries = self.stores.database.collection(DELIVERIES)
        unsent = {"status": {"$in": [status.value for status in OPEN]}}
        return not await self.stores.collection.find_one(busy) and not await deliveries.find_one(unsent)

    async def _is_announced(self) -> bool:
        return await self.stores.database.collection("backends").find_one({"_id": BACKEND}) is not None

    def _marks(self, job: str, mark: str) -> list[int]:
        lines = self._runs.read_text().splitlines() if self._runs.exists() else []
        words = [line.split() for line in lines]
        return [int(attempt) for found, attempt, what in words if (found, what) == (job, mark)]

    def _add(self, kind: str, name: str, **settings: object) -> Service:
        service = Service(kind, name, self.folder, self._settings | settings)
        self.services.append(service)
        return service


@asynccontextmanager
async def open_stage(folder: Path, mongodb_url: str, database_name: str, bus_url: str) -> AsyncIterator[Stage]:
    """Set a stage; where the test went well, no service may have complained of a defect."""
    async with MailServer() as mails, open_stores(mongodb_url, database_name) as stores:
        stage = Stage(folder, stores, mongodb_url, bus_url, mails)
        try:
            yield stage
        finally:
            await stage.close()
        assert not stage.complaints(), stage.complaints()


def environment(folder: Path, settings: dict[str, object]) -> dict[str, str]:
    """Return the variables of a service with these settings, which also finds the tests' own backend."""
    plugin = folder / "plugin" / "heliograph_drill-1.0.dist-info"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: heliograph-drill\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text(_ENTRY_POINTS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HELIOGRAPH_")}
    ours = {f"HELIOGRAPH_{name.upper()}": str(value) for name, value in settings.items() if value is not None}
    return inherited | ours | {"PYTHONPATH": f"{plugin.parent}{os.pathsep}{ROOT}"}


async def until_true(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once a condition holds that announces itself to nobody, such as a file."""

    async def holds() -> bool:
        return bool(condition())

    await until(holds, seconds)


def _occasion(subject: str) -> str:
    """Return the word after ``[Heliograph]``."""
    return subject.split()[1].rstrip(":")


def _job(references: str) -> str:
    return references.strip("<>").partition("@")[0].removeprefix("job.")


def _parsed(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict) and "event" in found:
            return {"level": "info", **found}
    return {"level": "raw", "event": line}
