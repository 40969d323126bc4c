"""Backends in real child processes: what becomes of each attempt, and what its observer is told."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.logs import HEAD, TAIL
from heliograph_worker.pool import Pool
from heliograph_worker.task import Outcome, OutcomeKind, StopReason, Task
from tests.backends_for_tests import SOURCES, Recorder, environment, lives, until

_tokens = map(str, itertools.count())


def task(backend: str, parameters: Any = None, *, seconds: float = 60, **inputs: Path) -> Task:
    token = next(_tokens)
    limit = timedelta(seconds=seconds)
    return Task(f"token-{token}", f"job-{token}", 2, backend, {} if parameters is None else parameters, limit, inputs)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    pool = Pool(
        Catalogue.of(SOURCES),
        slots=2,
        scratch_root=tmp_path / "scratch",
        grace=timedelta(seconds=5),
        environment=environment() | {"HELIOGRAPH_MONGODB_URL": "x", "SMTP_PASSWORD": "x", "PLAIN": "x"},
    )
    await pool.start()
    yield pool
    await pool.close()
    assert not list((tmp_path / "scratch").iterdir())


def exists(path: str) -> bool:
    return Path(path).exists()


async def error_of(pool: Pool, asked: Task) -> JobError:
    outcome = await pool.run(asked, Recorder())
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.error
    return outcome.error


@pytest.mark.parametrize("backend", ["sum", "async-sum"])
async def test_a_backend_returns_a_result(pool: Pool, backend: str) -> None:
    outcome = await pool.run(task(backend, {"left": 3}), Recorder())
    assert outcome == Outcome(OutcomeKind.DONE, result={"total": 4})


async def test_a_backend_knows_its_job_and_no_secret_of_the_worker(pool: Pool) -> None:
    asked = task("where")
    seen = (await pool.run(asked, Recorder())).result
    assert (seen["id"], seen["attempt"], seen["content"]) == (asked.job, 2, [])
    left = datetime.fromisoformat(seen["deadline"]) - datetime.now(UTC)
    assert timedelta(seconds=30) < left <= timedelta(seconds=60)
    assert seen["scratch"] == seen["folder"]
    assert not any(map(exists, (seen["folder"], seen["temporary"])))
    assert "PLAIN" in seen["environment"]
    assert not [name for name in seen["environment"] if name.startswith("HELIOGRAPH_") or "PASS" in name]


async def test_a_child_stays_small(pool: Pool) -> None:
    loaded = set((await pool.run(task("where"), Recorder())).result["modules"])
    assert not loaded & {"motor", "pymongo", "uvloop", "aio_pika", "structlog", "orjson", "prometheus_client"}


async def test_all_that_a_job_prints_is_its_log(pool: Pool) -> None:
    seen = Recorder()
    await pool.run(task("talk"), seen)
    lines = ["to standard output", "to standard error", "to the log", "from a subprocess"]
    assert seen.text.splitlines() == [*lines, "without a line's endfrom C"]


async def test_what_a_job_prints_is_told_while_it_runs(pool: Pool, tmp_path: Path) -> None:
    seen = Recorder()
    running = asyncio.create_task(pool.run(task("progress", {"folder": str(tmp_path)}), seen))
    await until(lambda: seen.progress_seen and seen.text)
    assert seen.text == "begun\n"
    assert seen.progress_seen == [(0.25, "reading", 120.0, "Reading the table")]
    (tmp_path / "seen").touch()
    await running
    assert seen.progress_seen[1:] == [(None, "fitting \\ud800", None, None)]
    assert seen.text.count("heliograph: ignored a progress that is not in 0..1") == 4


async def test_a_slow_observer_of_progress_gets_the_latest_only(pool: Pool) -> None:
    seen = Recorder(slow=True)
    assert (await pool.run(task("chatter"), seen)).kind is OutcomeKind.DONE
    assert len(seen.progress_seen) < 2_000  # of 20,000, however long a busy machine takes to tell them
    assert seen.progress_seen == sorted(seen.progress_seen)


async def test_artifacts_are_kept_as_they_were_when_named(pool: Pool) -> None:
    seen = Recorder(slow=True)
    assert (await pool.run(task("files"), seen)).kind is OutcomeKind.DONE
    assert seen.artifacts == {
        "table.csv": (b"1,2\n", "text/csv"),
        "plot.png": (b"PNG", "image/png"),
        "notes": (b"...", "text/x-notes"),
    }


async def test_a_job_whose_artifact_cannot_be_kept_may_be_tried_again(pool: Pool) -> None:
    outcome = await pool.run(task("files"), Recorder(full=True))
    assert outcome.error == JobError(ErrorKind.TRANSIENT, "the artifact table.csv could not be kept: the store is full")


async def test_an_artifact_has_no_path_for_a_name(pool: Pool) -> None:
    assert "without a slash: '../escape'" in (await error_of(pool, task("bad-file-name"))).message


async def test_an_input_file_is_a_local_path(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first")
    (tmp_path / "two").write_text("second")
    asked = task("read", {"table": "A", "more": ["B", None]}, A=tmp_path / "one", B=tmp_path / "two")
    assert (await pool.run(asked, Recorder())).result == ["first", "second", None]


@pytest.mark.parametrize(
    ("backend", "parameters", "message"),
    [
        ("sum", {"left": 0}, "parameters.left: Input should be greater than 0"),
        ("sum", {}, "parameters.left: Field required"),
        ("sum", [], "parameters: Input should be an object"),
        ("read", {"table": "/etc/passwd"}, "parameters.table: names no upload of this job"),
        ("secret", {"password": "hunter2"}, "parameters.password: Value should have at least 20 items"),
        ("complain", {"kind": "usage"}, "there is no star of that name"),
    ],
)
async def test_a_wrong_request_is_an_error_of_usage(pool: Pool, backend: str, parameters: Any, message: str) -> None:
    error = await error_of(pool, task(backend, parameters))
    assert (error.kind, error.traceback) == (ErrorKind.USAGE, None)
    assert error.message.startswith(message)


async def test_a_transient_error_says_so(pool: Pool) -> None:
    error = await error_of(pool, task("complain", {"kind": "transient"}))
    assert error == JobError(ErrorKind.TRANSIENT, "the archive is away")


async def test_any_other_exception_is_fatal_and_shows_the_authors_code(pool: Pool) -> None:
    error = await error_of(pool, task("complain", {"kind": "other"}))
    assert (error.kind, error.message) == (ErrorKind.FATAL, "RuntimeError: what nobody expected")
    assert error.traceback
    assert "good.py" in error.traceback
    assert "heliograph_worker" not in error.traceback


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("segfault", "the backend's process ended by signal 11 (SIGSEGV)"),
        ("kill", "the backend's process ended by signal 9 (SIGKILL)"),
        ("os._exit", "the backend's process ended by itself, with exit code 3"),
        ("sys.exit", "the backend called sys.exit('enough')"),
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
    ],
)
async def test_a_crash_is_a_clean_failure_and_the_next_job_runs(pool: Pool, which: str, message: str) -> None:
    error = await error_of(pool, task("crash", {"which": which}))
    assert error.kind is ErrorKind.FATAL
    assert error.message.startswith(message)
    assert (await pool.run(task("sum", {"left": 1}), Recorder())).result == {"total": 2}


@pytest.mark.parametrize(
    ("backend", "start"),
    [
        ("broken-exception", "BrokenError: (its text cannot be had: __str__ failed)"),
        ("surrogate-exception", "ValueError: \\ud800longlong"),
        ("cancelled-by-nobody", "Cancelled"),
    ],
)
async def test_an_exception_that_cannot_be_shown_is_a_clean_failure(pool: Pool, backend: str, start: str) -> None:
    error = await error_of(pool, task(backend))
    assert error.kind is ErrorKind.FATAL
    assert error.message.startswith(start)
    assert len(error.message) < 3_000


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("nan", "result.peaks[1]: nan is no JSON number; use null"),
        ("big integer", "result: is an integer of more than 64 bits"),
        ("object", "result.when: builtins.type is no JSON value"),
        ("key", "result: has a key that is no text: int"),
        ("surrogate", "result: holds text that is not valid Unicode (a lone surrogate)"),
        ("huge", "result: takes more than 1,000,000 bytes as JSON; keep large results as artifacts"),
        ("many", "result: takes more than 1,000,000 bytes as JSON; keep large results as artifacts"),
        ("endless", "result: is nested deeper than 100 levels"),
    ],
)
async def test_a_result_that_is_no_json_is_a_clean_failure(pool: Pool, which: str, message: str) -> None:
    assert await error_of(pool, task("result", {"which": which})) == JobError(ErrorKind.FATAL, message)


async def test_a_job_that_prints_without_end_meets_its_limit_and_leaves_head_and_tail(pool: Pool) -> None:
    for seconds in (1.5, 20):  # the longer one where the machine is so busy that it printed too little in the other
        seen = Recorder()
        outcome = await pool.run(task("flood", seconds=seconds), seen)
        assert outcome.error == JobError(ErrorKind.TIMEOUT, f"it ran longer than its limit of {seconds:g} s")
        if len(seen.text) > HEAD + TAIL:
            break
    assert seen.text.startswith("the first line\nxxx")
    assert "bytes left out here]\n" in seen.text
    assert HEAD + TAIL < len(seen.text) < HEAD + TAIL + 100


async def test_the_last_lines_of_a_long_log_are_kept(pool: Pool) -> None:
    seen = Recorder()
    await pool.run(task("much"), seen)
    assert seen.text.startswith(f"line {0:100d}\n")
    assert "\n[10,075,712 bytes left out here]\n" in seen.text  # 100,000 lines of 106 bytes less twice 256 KB
    assert seen.text.endswith(" 99999\n")
    assert len(seen.text) < HEAD + TAIL + 100


async def test_a_backend_that_is_not_here_is_a_clean_failure(pool: Pool) -> None:
    assert (await error_of(pool, task("unheard-of"))).message == "this worker has no backend unheard-of"


async def test_forked_processes_of_a_job_do_their_work(pool: Pool) -> None:
    assert (await pool.run(task("fork"), Recorder())).result == 3


async def test_a_child_serves_again_where_its_backend_is_known(pool: Pool) -> None:
    tasks = (task("where"), task("sum", {"left": 1}))
    outcomes = await asyncio.gather(*(pool.run(each, Recorder()) for each in tasks))
    first = outcomes[0].result["pid"]
    for other in (task("sum", {"left": 1}), task("complain", {"kind": "other"})):
        await pool.run(other, Recorder())
        for _ in range(2):
            assert (await pool.run(task("where"), Recorder())).result["pid"] == first


async def test_a_child_in_which_a_thread_goes_on_is_thrown_away(pool: Pool) -> None:
    first = (await pool.run(task("thread"), Recorder())).result
    assert (await pool.run(task("thread"), Recorder())).result != first


async def test_a_child_that_died_while_idle_is_not_used(pool: Pool) -> None:
    pid = (await pool.run(task("where"), Recorder())).result["pid"]
    warden = psutil.Process(pid).parent()
    assert warden
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not warden.is_running())
    assert (await pool.run(task("where"), Recorder())).result["pid"] != pid


async def test_a_job_does_not_outlive_its_warden(pool: Pool, tmp_path: Path) -> None:
    running = asyncio.create_task(pool.run(task("hang", {"file": str(tmp_path / "pid")}), Recorder()))
    await until((tmp_path / "pid").exists)
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    warden = process.parent()
    assert warden
    warden.kill()
    outcome = await running
    assert outcome.error
    assert outcome.error.message.startswith("the backend's process ended by signal 9 (SIGKILL)")
    await until(lambda: not lives(process.pid))


async def test_tasks_beyond_the_slots_wait_for_one(pool: Pool, tmp_path: Path) -> None:
    seen = Recorder()
    held = [task("hang", {"file": str(tmp_path / name)}) for name in "ab"]
    running = [asyncio.create_task(pool.run(asked, seen)) for asked in held]
    await until(lambda: all((tmp_path / name).exists() for name in "ab"))
    third = asyncio.create_task(pool.run(task("sum", {"left": 1}), seen))
    await asyncio.sleep(0.1)  # that nothing happens cannot be awaited
    assert not third.done()
    pool.stop(held[0].token, StopReason.CANCELLED)
    assert (await third).result == {"total": 2}
    pool.stop(held[1].token, StopReason.CANCELLED)
    assert [(await each).kind for each in running] == [OutcomeKind.CANCELLED] * 2


async def test_a_job_beyond_the_memory_limit_fails(tmp_path: Path) -> None:
    pool = Pool(
        Catalogue.of(SOURCES), slots=1, scratch_root=tmp_path, memory_limit=512 * 1024**2, environment=environment()
    )
    await pool.start()
    try:
        error = await error_of(pool, task("crash", {"which": "memory"}))
        assert (error.kind, error.message) == (ErrorKind.FATAL, "the backend ran out of memory")
    finally:
        await pool.close()


async def test_a_worker_whose_children_cannot_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    pool = Pool(Catalogue.of(SOURCES), slots=1, scratch_root=tmp_path, environment=dict(os.environ))
    with pytest.raises(Exception, match="a process ended while starting, by itself, with exit code 1"):
        await pool.start()
    error = await error_of(pool, task("sum", {"left": 1}))
    assert error.kind is ErrorKind.TRANSIENT
    await pool.close()
