"""How attempts are ended before their time, and that no process of them lives on, whoever dies first."""

import asyncio
import itertools
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.scratch import Scratch
from heliograph_worker.task import Outcome, OutcomeKind, StopReason, Task
from tests.backends_for_tests import SOURCES, Recorder, environment, lives, until

_tokens = map(str, itertools.count())


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file in which a backend lists the processes that it started; what is left of them is killed."""
    path = tmp_path / "marker"
    yield path
    for pid in pids(path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids(marker: Path) -> list[int]:
    return [int(pid) for pid in marker.read_text().split()] if marker.exists() else []


def task(backend: str, marker: Path, then: str = "sleep", limit: timedelta | None = None) -> Task:
    return Task(f"t{next(_tokens)}", "job", 1, backend, {"file": str(marker), "then": then}, limit)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    pool = Pool(
        Catalogue.of(SOURCES),
        slots=2,
        scratch_root=tmp_path / "scratch",
        grace=timedelta(minutes=1),
        environment=environment(),
    )
    await pool.start()
    yield pool
    await pool.close()
    assert not list((tmp_path / "scratch").iterdir())


async def begin(pool: Pool, asked: Task, seen: Recorder, marker: Path) -> asyncio.Task[Outcome]:
    running = asyncio.create_task(pool.run(asked, seen))
    await until(marker.exists)
    return running


@pytest.mark.parametrize("backend", ["hang", "hang-async"])
@pytest.mark.parametrize(
    ("reason", "kind"), [(StopReason.CANCELLED, OutcomeKind.CANCELLED), (StopReason.SHUTDOWN, OutcomeKind.STOPPED)]
)
async def test_a_job_that_is_stopped_may_clean_up(
    pool: Pool, marker: Path, backend: str, reason: StopReason, kind: OutcomeKind
) -> None:
    seen = Recorder()
    asked = task(backend, marker)
    running = await begin(pool, asked, seen, marker)
    assert pool.stop(asked.token, reason)
    assert (await running) == Outcome(kind, reason=None if reason is StopReason.CANCELLED else reason)
    assert seen.text == "stopping: True\n"
    assert not any(map(lives, pids(marker)))


async def test_a_job_that_returns_after_it_was_stopped_is_stopped_all_the_same(pool: Pool, marker: Path) -> None:
    asked = task("hang", marker, "return")
    running = await begin(pool, asked, Recorder(), marker)
    pool.stop(asked.token, StopReason.CANCELLED)
    assert (await running) == Outcome(OutcomeKind.CANCELLED)


async def test_a_job_that_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path, marker: Path) -> None:
    grace = timedelta(seconds=0.5)
    pool = Pool(Catalogue.of(SOURCES), slots=1, scratch_root=tmp_path, grace=grace, environment=environment())
    await pool.start()
    asked = task("hang", marker, "ignore")
    running = await begin(pool, asked, Recorder(), marker)
    started = asyncio.get_running_loop().time()
    pool.stop(asked.token, StopReason.CANCELLED)
    assert (await running) == Outcome(OutcomeKind.CANCELLED)  # by itself it would sleep on
    assert asyncio.get_running_loop().time() - started >= grace.total_seconds()
    assert not any(map(lives, pids(marker)))
    await pool.close()


async def test_a_job_whose_lease_is_lost_is_killed_without_grace(tmp_path: Path, marker: Path) -> None:
    pool = Pool(
        Catalogue.of(SOURCES), slots=1, scratch_root=tmp_path, grace=timedelta(hours=1), environment=environment()
    )
    await pool.start()
    asked = task("hang", marker, "ignore")
    running = await begin(pool, asked, Recorder(), marker)
    pool.stop(asked.token, StopReason.CANCELLED)
    await asyncio.sleep(0)
    pool.stop(asked.token, StopReason.LOST)
    async with asyncio.timeout(60):
        assert (await running) == Outcome(OutcomeKind.STOPPED, reason=StopReason.LOST)
    assert not any(map(lives, pids(marker)))
    await pool.close()


async def test_a_job_may_be_stopped_while_its_files_are_kept(pool: Pool) -> None:
    seen = Recorder(stuck=True)
    asked = Task("t", "job", 1, "files", {})
    running = asyncio.create_task(pool.run(asked, seen))
    await seen.asked_to_keep.wait()
    await asyncio.sleep(0.3)  # by then the backend has returned, too, which it tells nobody but the pool
    pool.stop(asked.token, StopReason.CANCELLED)
    async with asyncio.timeout(60):
        assert (await running) == Outcome(OutcomeKind.CANCELLED)


async def test_a_job_at_its_time_limit_fails(pool: Pool, marker: Path) -> None:
    for seconds in (1, 20):  # the longer one where the machine is so busy that its code did not begin in the other
        seen = Recorder()
        outcome = await pool.run(task("hang", marker, limit=timedelta(seconds=seconds)), seen)
        assert outcome.error == JobError(ErrorKind.TIMEOUT, f"it ran longer than its limit of {seconds} s")
        if pids(marker):
            break
    assert seen.text == "stopping: True\n"


async def test_stopping_what_is_not_here_says_so(pool: Pool) -> None:
    assert not pool.stop("nobody's", StopReason.CANCELLED)


async def test_a_caller_that_gives_up_leaves_nothing(pool: Pool, marker: Path) -> None:
    running = await begin(pool, task("family", marker), Recorder(), marker)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not any(map(lives, pids(marker))))


@pytest.mark.parametrize(
    ("then", "kind"), [("return", OutcomeKind.DONE), ("crash", OutcomeKind.FAILED), ("sleep", OutcomeKind.FAILED)]
)
async def test_descendants_die_with_their_job_however_they_hid(
    pool: Pool, marker: Path, then: str, kind: OutcomeKind
) -> None:
    # One that sleeps meets its limit: the longer one where the machine is so busy that it did not begin in the other.
    for seconds in (2, 20) if then == "sleep" else (100,):
        outcome = await pool.run(task("family", marker, then, timedelta(seconds=seconds)), Recorder())
        assert outcome.kind is kind
        if pids(marker):
            break
    assert len(pids(marker)) == 4
    assert not any(map(lives, pids(marker)))


@pytest.mark.faults
async def test_a_job_whose_warden_is_killed_ends_at_once_even_if_a_copy_of_it_lives(pool: Pool, marker: Path) -> None:
    running = await begin(pool, task("copy", marker), Recorder(), marker)
    runner, copy = pids(marker)
    warden = psutil.Process(runner).parent()
    assert warden
    warden.kill()
    async with asyncio.timeout(60):  # the copy goes on for an hour
        outcome = await running
    assert outcome.error
    assert outcome.error.message.startswith("the backend's process ended by signal 9 (SIGKILL)")
    await until(lambda: not lives(runner))
    assert lives(copy)  # the one case that leaves something: who kills a warden has to clean up


async def test_a_pool_that_closes_stops_its_jobs(tmp_path: Path, marker: Path) -> None:
    pool = Pool(Catalogue.of(SOURCES), slots=1, scratch_root=tmp_path / "scratch", environment=environment())
    await pool.start()
    running = await begin(pool, task("hang", marker), Recorder(), marker)
    waiting = asyncio.create_task(pool.run(task("hang", tmp_path / "never"), Recorder()))
    await asyncio.sleep(0)
    await pool.close(timedelta(seconds=0.5))
    assert [(await each).kind for each in (running, waiting)] == [OutcomeKind.STOPPED] * 2
    assert (await pool.run(task("hang", marker), Recorder())).kind is OutcomeKind.STOPPED
    assert not any(map(lives, pids(marker)))


WORKER = """
    import asyncio, json, sys
    from pathlib import Path
    from heliograph_worker.catalogue import Catalogue
    from heliograph_worker.pool import Pool
    from heliograph_worker.task import Task
    from tests.backends_for_tests import SOURCES, Recorder, environment

    async def main():
        folder, marker = map(Path, sys.argv[1:])
        pool = Pool(Catalogue.of(SOURCES), slots=2, scratch_root=folder, environment=environment())
        await pool.start()
        await pool.run(Task("t", "job", 1, "family", {"file": str(marker)}), Recorder())

    asyncio.run(main())
"""


@pytest.mark.faults
async def test_a_worker_killed_with_signal_9_leaves_no_process(tmp_path: Path, marker: Path) -> None:
    scratch = tmp_path / "scratch"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(WORKER), str(scratch), str(marker)), env=environment()
    )
    await until(marker.exists)
    family = psutil.Process(worker.pid).children(recursive=True)
    assert {process.pid for process in family} >= set(pids(marker))
    worker.kill()
    await worker.wait()
    await until(lambda: not any(lives(process.pid) for process in family))
    assert list(scratch.iterdir())
    heir = Scratch(scratch)
    other = Scratch(scratch)
    heir.open()
    other.open()
    assert len(list(scratch.iterdir())) == 4  # a folder and a lock for each of the living; the dead one's are gone
    await heir.close()
    await other.close()
    assert not list(scratch.iterdir())
