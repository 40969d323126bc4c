"""Celery's load generator: takes orders as lines of JSON on standard input, and answers each with one.

{"submit": 1000}   sends so many no-ops; answers when the broker has confirmed all
{"run": "noop"}    sends one task and waits for its result in MongoDB; answers how many seconds that took
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.baselines.celery_app import app, noop

THREADS = 4  # as fast as 8; one alone waits for each confirm
LOOK_SECONDS = 0.001
LIMIT_SECONDS = 30.0


def main() -> None:
    results = app.backend.collection
    with ThreadPoolExecutor(THREADS) as threads:
        for line in sys.stdin:
            order = json.loads(line)
            answer = submit(threads, order["submit"]) if "submit" in order else run(results, order["run"])
            print(json.dumps(answer), flush=True)


def submit(threads: ThreadPoolExecutor, jobs: int) -> dict[str, float]:
    began = time.time()
    share = [jobs // THREADS + (number < jobs % THREADS) for number in range(THREADS)]
    list(threads.map(send, share))
    return {"began": began, "ended": time.time()}


def send(jobs: int) -> None:
    for number in range(jobs):
        noop.apply_async((number,))


def run(results: Any, task: str) -> dict[str, float]:
    began = time.perf_counter()
    identifier = app.tasks[task].apply_async((7,)).id
    while results.find_one({"_id": identifier, "status": {"$in": ["SUCCESS", "FAILURE"]}}) is None:
        if time.perf_counter() - began > LIMIT_SECONDS:
            raise TimeoutError(f"the task {task} has no result after {LIMIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
    return {"seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
