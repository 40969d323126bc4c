"""No-op jobs per second from submission to result, of one worker of ours and of one of Celery's, in turn.

    python -m bench.jobs        BENCH_JOB_COUNT, BENCH_JOB_ROUNDS, BENCH_LATENCY_JOBS, BENCH_SLEEPS set its length

Both run beside each other, on the same MongoDB and the same RabbitMQ; the one that is not asked is idle.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import cpu
from bench.load import quantile
from bench.stack import HERE, Stack, stack
from bench.systems import SLOTS, Batches, Celery, Heliograph, System, set_up_celery

JOBS = int(os.environ.get("BENCH_JOB_COUNT", "1000"))
ROUNDS = int(os.environ.get("BENCH_JOB_ROUNDS", "3"))
LATENCY_JOBS = int(os.environ.get("BENCH_LATENCY_JOBS", "200"))
SLEEPS = int(os.environ.get("BENCH_SLEEPS", "20"))
WARM_UP = 200
IDLE_SECONDS = 5.0
LOOK_SECONDS = 0.02
LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Round:
    """Jobs per second, how many seconds the last event came after the last result, CPU seconds by process."""

    rate: float
    lag: float
    cpu: dict[str, float]


def main() -> None:
    set_up_celery()
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as parts:
        plugins = os.pathsep.join(filter(None, [str(HERE / "plugins"), os.environ.get("PYTHONPATH")]))
        parts.start(
            "worker", ["-m", "heliograph_worker"], "HELIOGRAPH_METRICS_PORT",
            HELIOGRAPH_SCRATCH=str(parts.folder / "scratch"), HELIOGRAPH_SLOTS=str(SLOTS), PYTHONPATH=plugins,
        )  # fmt: skip
        parts.start("api", ["-m", "heliograph_api"], "HELIOGRAPH_PORT", HELIOGRAPH_HOST="127.0.0.1")
        systems: list[System] = [Heliograph(parts), Celery(parts)]
        rates(parts, [*systems, Batches(parts)])
        latency(systems)
        overhead(systems)


def rates(parts: Stack, systems: list[System]) -> None:
    for system in systems:
        one_round(parts, system, WARM_UP)
    idle(parts, systems)
    print(f"no-op jobs from submission to result, one worker of {SLOTS} slots each, {ROUNDS} rounds of {JOBS} in turn")
    rounds: dict[str, list[Round]] = {system.name: [] for system in systems}
    for number in range(ROUNDS):
        for system in systems if number % 2 == 0 else reversed(systems):
            made = one_round(parts, system, JOBS)
            rounds[system.name].append(made)
            print(f"  {system.name:<12}{made.rate:8.0f} /s   told of {made.lag:5.2f} s later", flush=True)
    medians = {name: statistics.median(made.rate for made in each) for name, each in rounds.items()}
    for system in systems:
        print(f"  {system.name:<12}{medians[system.name]:8.0f} /s median: {system.promises}")
    ours, theirs, batches = (medians[system.name] for system in systems)
    print(f"  ratio {ours / theirs:.2f}, in batches {batches / theirs:.2f}")
    for name, each in rounds.items():
        print(f"  CPU of a job, {name}")
        costs = {part: statistics.median(made.cpu[part] for made in each) * 1e3 / JOBS for part in each[0].cpu}
        for part, milliseconds in [*costs.items(), ("all", sum(costs.values()))]:
            print(f"    {part:<20}{milliseconds:8.2f} ms")


def one_round(parts: Stack, system: System, jobs: int) -> Round:
    meter = meter_of(parts, system)
    began = system.submit(jobs)
    ended = wait_done(system, began, jobs)
    while not system.settled():
        time.sleep(LOOK_SECONDS)
    lag = time.time() - ended
    time.sleep(0.3)  # for what comes after the last result, an acknowledgement say
    return Round(jobs / (ended - began), lag, meter.lap())


def wait_done(system: System, began: float, jobs: int) -> float:
    """Return the wall clock when all are done. It looks seldom at first, for to look costs the database something."""
    while (done := system.done(began)) < jobs:
        passed = time.time() - began
        if passed > LIMIT_SECONDS:
            raise TimeoutError(f"{system.name}: {done} of {jobs} jobs are done after {passed:.0f} s")
        left = (jobs - done) * passed / max(done, 1)
        time.sleep(min(1.0, max(LOOK_SECONDS, left / 2)))
    return time.time()


def idle(parts: Stack, systems: list[System]) -> None:
    meters = [meter_of(parts, system) for system in systems]
    time.sleep(IDLE_SECONDS)
    print(f"CPU at rest, in hundredths of a core over {IDLE_SECONDS:.0f} s")
    used: dict[str, float] = {}
    for meter in meters:
        used |= meter.lap()
    print("  " + ", ".join(f"{part} {seconds / IDLE_SECONDS * 100:.1f}" for part, seconds in used.items()))


def latency(systems: list[System]) -> None:
    print(f"latency at idle, submission to result in the store, {LATENCY_JOBS} jobs one after another")
    for system in systems:
        values = sorted([system.run("noop") * 1000 for _ in range(LATENCY_JOBS + 20)][20:])
        print(f"  {system.name:<12}{quantile(values, 0.5):8.1f} ms p50 {quantile(values, 0.99):8.1f} ms p99")


def overhead(systems: list[System]) -> None:
    print(f"overhead of a job of 1 s, {SLEEPS} one after another")
    for system in systems:
        extra = sorted([(system.run("sleep1") - 1.0) * 100 for _ in range(SLEEPS)])
        print(f"  {system.name:<12}{statistics.median(extra):8.2f} % median {extra[-1]:8.2f} % most", flush=True)


def meter_of(parts: Stack, system: System) -> cpu.Meter:
    shared = {"mongod": partial(cpu.own, parts.mongod_pid), "RabbitMQ": partial(cpu.tree, parts.broker_pid)}
    return cpu.Meter({**shared, **system.clocks})


if __name__ == "__main__":
    main()
