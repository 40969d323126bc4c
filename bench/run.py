"""Measures the system on real parts and prints what it found; `make bench`.

Compared rates come from rounds that take turns in this one run, so that a busy machine slows both alike. Nothing here
passes or fails: the numbers of a quiet machine stand in docs/performance.md.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import claims, jobs, notices, notices_matrix, plan
from bench.load import Result, post, quantile
from bench.stack import HERE, Stack, children, pss_megabytes, stack
from heliograph.client import Client

CLIENTS = 32
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "3000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
LATENCY_JOBS = int(os.environ.get("BENCH_JOBS", "300"))
CONFIRM_SECONDS = 2.0  # a rate counts only if every event is confirmed this soon after the last answer
BODY = orjson.dumps({"backend": "noop", "parameters": {"number": 7}})
PLUGINS = {"PYTHONPATH": str(HERE / "plugins")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as parts:
        start_worker(parts)
        parts.start("api", ["-m", "heliograph_api"], "HELIOGRAPH_PORT", HELIOGRAPH_HOST="127.0.0.1")
        notifier = {"HELIOGRAPH_SMTP_URL": "smtp://127.0.0.1:9", "HELIOGRAPH_MAIL_FROM": "bench@localhost"}
        parts.start("notifier", ["-m", "heliograph_notifier"], "HELIOGRAPH_METRICS_PORT", **notifier)
        memory(parts)
        latency(parts)
        # Only the api serves from here on, as the baseline does; jobs and told events pile up.
        for name in ("worker", "notifier"):
            parts.processes[name].terminate()
            parts.processes[name].wait(30)
        uvicorn = ["-m", "uvicorn", "baselines.bare_api:app", "--port", "{port}", "--loop", "uvloop"]
        quiet = ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
        parts.start("bare", [*uvicorn, *quiet], "BARE_PORT")
        submissions(parts)
    jobs.main()
    claims.main()
    notices.main()
    notices_matrix.main()
    plan.main()


def start_worker(parts: Stack) -> None:
    scratch = str(parts.folder / "scratch")
    parts.start("worker", ["-m", "heliograph_worker"], "HELIOGRAPH_METRICS_PORT", HELIOGRAPH_SCRATCH=scratch, **PLUGINS)


def memory(parts: Stack) -> None:
    print("memory at rest (PSS)")
    for name in ("api", "worker", "notifier"):
        print(f"  {name:<22}{pss_megabytes(parts.pid(name)):8.1f} MB")
    for child in children(parts.pid("worker")):
        # A small warden, and the interpreter that runs jobs below it.
        print(f"  {'warm child':<22}{pss_megabytes(child) + sum(map(pss_megabytes, children(child))):8.1f} MB")


def latency(parts: Stack) -> None:
    running, done = [], []
    with Client(f"http://127.0.0.1:{parts.ports['api']}", parts.token) as client:
        for number in range(LATENCY_JOBS + 20):
            began = time.time()
            job = client.submit("noop", {"number": number}, notify=False)
            job = client.wait(job.id, seconds=30)
            assert job.started_at, job
            assert job.ended_at, job
            if number >= 20:  # the first ones warm up connections and the child
                running.append((job.started_at.timestamp() - began) * 1000)
                done.append((job.ended_at.timestamp() - began) * 1000)
    print(f"latency at idle, {LATENCY_JOBS} jobs one after another")
    for name, values in (("submit to running", sorted(running)), ("submit to done", sorted(done))):
        print(f"  {name:<22}{quantile(values, 0.5):8.1f} ms p50 {quantile(values, 0.99):8.1f} ms p99")


def submissions(parts: Stack) -> None:
    rates: dict[str, list[float]] = {"api": [], "bare": []}
    lags: list[float] = []
    print(f"submissions, {CLIENTS} clients, {ROUNDS} rounds of {REQUESTS} in turn")
    for number in range(-1, ROUNDS):  # round -1 warms up
        for name, counted in rates.items():
            before = published(parts)
            result, lag = asyncio.run(one_round(parts, name, REQUESTS if number >= 0 else 300))
            confirmed = True
            if name == "api":
                target = before + (REQUESTS if number >= 0 else 300)
                confirmed = wait_published(parts, target, result.ended + CONFIRM_SECONDS)
            if number < 0:
                continue
            p50, p99 = quantile(result.latencies, 0.5) * 1000, quantile(result.latencies, 0.99) * 1000
            note = "" if confirmed else f"  NOT COUNTED: events unconfirmed after {CONFIRM_SECONDS} s"
            print(f"  {name:<6}{result.rate:8.0f} /s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms{note}")
            if confirmed:
                counted.append(result.rate)
                lags.extend([lag] if name == "api" else [])
    if not all(rates.values()):
        print("  no round counts")
        return
    ours, bare = statistics.median(rates["api"]), statistics.median(rates["bare"])
    print(f"  median {ours:.0f} /s, bare endpoint {bare:.0f} /s, ratio {ours / bare:.2f}")
    print(f"  peak relay lag {max(lags):.2f} s")


async def one_round(parts: Stack, name: str, requests: int) -> tuple[Result, float]:
    """Return a round's result and the relay's peak lag meanwhile, in seconds."""
    lag = 0.0

    async def watch() -> None:
        nonlocal lag
        while True:
            lag = max(lag, await asyncio.to_thread(metric, parts, "heliograph_relay_lag_seconds"))
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    result = await post(parts.ports[name], parts.token, "/v1/jobs", BODY, clients=CLIENTS, requests=requests)
    watching.cancel()
    return result, lag


def wait_published(parts: Stack, target: float, deadline: float) -> bool:
    while published(parts) < target:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def published(parts: Stack) -> float:
    return metric(parts, "heliograph_events_published_total")


def metric(parts: Stack, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{parts.ports['api']}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return 0.0


if __name__ == "__main__":
    main()
