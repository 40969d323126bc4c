"""The two systems whose jobs are counted: ours and Celery, each behind the same few questions."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import orjson
from pymongo import MongoClient

from bench import cpu
from bench.load import post
from bench.stack import HERE, Stack

CELERY_ENVIRONMENT = HERE.parent / ".bench-venv"
CONNECTIONS = 16
BATCH = 100  # jobs to a request
SLOTS = 2  # jobs at a time, of either
LOOK_SECONDS = 0.001


class System(Protocol):
    """Something that runs jobs."""

    name: str
    promises: str
    clocks: Mapping[str, Callable[[], float]]  # CPU seconds by process

    def submit(self, jobs: int) -> float:
        """Submit no-op jobs as fast as they are taken; return the wall clock at the first."""

    def done(self, since: float) -> int:
        """Count the jobs submitted since then whose result is in the store."""

    def settled(self) -> bool:
        """Say whether nothing is left to do for any job, be it only to tell of it."""

    def run(self, task: str) -> float:
        """Submit one job; return after how many seconds its result was in the store."""


class Heliograph:
    name = "heliograph"
    promises = (
        "the job journaled before the answer, each change of state with its history and its event in one write, "
        "journaled; events confirmed by the broker; a lease, a working folder and a log for each attempt"
    )

    def __init__(self, parts: Stack) -> None:
        self._port = parts.ports["api"]
        self._token = parts.token
        self._jobs = MongoClient[dict[str, Any]](parts.mongodb_url)["heliograph"]["jobs"]
        self.clocks: Mapping[str, Callable[[], float]] = {
            "api": partial(cpu.own, parts.pid("api")),
            "worker": partial(cpu.own, parts.pid("worker")),
            "worker's children": partial(cpu.below, parts.pid("worker")),
            "load generator": partial(cpu.own, os.getpid()),
        }

    def submit(self, jobs: int) -> float:
        began = time.time()
        asyncio.run(post(self._port, self._token, "/v1/jobs", self._body("noop"), clients=CONNECTIONS, requests=jobs))
        return began

    def done(self, since: float) -> int:
        return self._jobs.count_documents({"updated_at": {"$gte": _date(since)}, "state": "done"})

    def settled(self) -> bool:
        return self._jobs.find_one({"outbox.0": {"$exists": True}, "outbox.at": {"$type": "date"}}) is None

    def run(self, task: str) -> float:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/v1/jobs",
            self._body(task),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=30) as answer:
            identifier = orjson.loads(answer.read())["id"]
        while self._jobs.find_one({"_id": identifier, "state": {"$in": ["done", "failed"]}}, {"_id": 1}) is None:
            time.sleep(LOOK_SECONDS)
        return time.perf_counter() - began

    @staticmethod
    def _body(backend: str) -> bytes:
        return orjson.dumps(_submission(backend))


class Batches(Heliograph):
    """The same, submitted as who has many jobs would."""

    name = f"by {BATCH}"
    promises = f"as above, submitted {BATCH} to a request"

    def submit(self, jobs: int) -> float:
        body = orjson.dumps({"jobs": [_submission("noop")] * BATCH})
        began = time.time()
        asyncio.run(
            post(
                self._port, self._token, "/v1/jobs/batch", body, clients=4, requests=jobs // BATCH, status=200
            )
        )  # fmt: skip
        return began


def _submission(backend: str) -> dict[str, Any]:
    # Events go out, and nobody is to be mailed: Celery tells nobody either.
    return {"backend": backend, "parameters": {"number": 7}, "notify": False}


class Celery:
    name = "celery"
    promises = (
        "publishing confirmed by the broker, acknowledged late, the start and the result of each task journaled; "
        "no history, no events, no working folder, no log"
    )

    def __init__(self, parts: Stack) -> None:
        python = str(CELERY_ENVIRONMENT / "bin" / "python")
        environment = {**os.environ, "BUS_URL": parts.bus_url, "MONGODB_URL": parts.mongodb_url}

        def start(name: str, *command: str, pipe: int | None = None) -> "subprocess.Popen[bytes]":
            with (parts.folder / f"{name}.log").open("wb") as log:
                parts.processes[name] = process = subprocess.Popen(
                    [python, "-m", *command], env=environment, cwd=HERE.parent,
                    stdin=pipe or subprocess.DEVNULL, stdout=pipe or log, stderr=log,
                )  # fmt: skip
            return process

        self._log = parts.folder / "celery client.log"
        app = "bench.baselines.celery_app"
        worker = start("celery", "celery", "--quiet", "--app", app, "worker", "--concurrency", str(SLOTS))
        client = self._client = start("celery client", "bench.baselines.celery_client", pipe=subprocess.PIPE)
        self._results = MongoClient[dict[str, Any]](parts.mongodb_url)["celery"]["celery_taskmeta"]
        self.run("noop")  # it is ready when it has run something
        self.clocks: Mapping[str, Callable[[], float]] = {
            "celery": partial(cpu.own, worker.pid),
            "celery's children": partial(cpu.below, worker.pid),
            "load generator": lambda: cpu.own(client.pid) + cpu.own(os.getpid()),
        }

    def submit(self, jobs: int) -> float:
        return self._ask({"submit": jobs})["began"]

    def done(self, since: float) -> int:
        return self._results.count_documents({"date_done": {"$gte": _date(since)}, "status": "SUCCESS"})

    def settled(self) -> bool:
        return True  # what is left is an acknowledgement or two

    def run(self, task: str) -> float:
        return self._ask({"run": task})["seconds"]

    def _ask(self, order: dict[str, Any]) -> dict[str, float]:
        assert self._client.stdin
        assert self._client.stdout
        self._client.stdin.write(json.dumps(order).encode() + b"\n")
        self._client.stdin.flush()
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError(f"Celery's load generator ended:\n{self._log.read_text()[-2000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer


def set_up_celery() -> None:
    """Make Celery's environment where it is missing or of other versions."""
    wanted = (HERE / "baselines" / "celery-requirements.txt").read_text()
    stamp = CELERY_ENVIRONMENT / "requirements.txt"
    with contextlib.suppress(FileNotFoundError):
        if stamp.read_text() == wanted:
            return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(CELERY_ENVIRONMENT)], check=True)
    pip = [str(CELERY_ENVIRONMENT / "bin" / "python"), "-m", "pip", "--quiet"]
    install = [*pip, "install", "--requirement", "/dev/stdin"]
    subprocess.run(install, input=wanted.encode(), check=True)
    stamp.write_text(wanted)


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
