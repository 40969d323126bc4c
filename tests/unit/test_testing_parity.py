"""What ``heliograph.testing`` says of a backend is what a worker says of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from heliograph.testing import run
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.task import OutcomeKind, Task
from tests.backends_for_tests import SOURCES, Recorder, bad, environment, good

CASES: list[tuple[Any, dict[str, Any]]] = [
    (good.add, {"left": 3}),
    (good.add, {"left": 0}),
    (good.add, {}),
    (good.read, {"table": "/etc/passwd"}),
    (good.secret, {"password": "hunter2"}),
    *((good.complain, {"kind": kind}) for kind in ("usage", "transient", "defect")),
    (good.bad_file_name, {}),
    (bad.crash, {"which": "sys.exit"}),
    (bad.crash, {"which": "recursion"}),
    (bad.broken_exception, {}),
    (bad.surrogate_exception, {}),
    (bad.cancelled_by_nobody, {}),
    *((bad.result, {"which": which}) for which in bad.RESULTS),
]


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    pool = Pool(Catalogue.of(SOURCES), slots=2, scratch_root=tmp_path / "scratch", environment=environment())
    await pool.start()
    yield pool
    await pool.close()


def asked(name: str, parameters: dict[str, Any], limit: timedelta | None = None) -> Task:
    return Task(name, "job", 1, name, parameters, limit)


async def test_what_a_run_says_is_what_a_worker_says(pool: Pool) -> None:
    for tried, parameters in CASES:
        theirs = await pool.run(asked(tried.name, parameters), Recorder())
        ours = await asyncio.to_thread(run, tried, parameters, catch=True)
        if theirs.error is None:
            assert (theirs.kind, theirs.result) == (OutcomeKind.DONE, ours.result)
        else:
            case, failure = (tried.name, parameters), ours.failure
            assert (case, failure.kind, failure.message) == (case, theirs.error.kind, theirs.error.message)
            assert (failure.traceback is None) is (theirs.error.traceback is None)


async def test_a_time_limit_is_told_as_a_worker_tells_it(pool: Pool, tmp_path: Path) -> None:
    limit = timedelta(seconds=0.5)
    marker = {"file": str(tmp_path / "marker")}
    seen = Recorder()
    theirs = await pool.run(asked("hang", marker, limit), seen)
    ours = run(bad.hang, marker, timeout=limit)
    assert theirs.error == ours.error
    assert seen.text == ours.log
