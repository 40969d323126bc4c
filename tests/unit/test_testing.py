# ruff: noqa: T201 - what backends print is the point
"""What an author of backends gets from ``heliograph.testing``: the same as from a worker, without one."""

import asyncio
import gc
import inspect
import io
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from heliograph.backends import (
    Cancelled,
    JobContext,
    backend,
)
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph.testing import FakeJob, Progress, UnexpectedOutcomeError, run
from tests.backends_for_tests import good
from tests.parts.backends import Cluster, Nothing, Text, made


@pytest.mark.parametrize("asked", [good.add, good.add_slowly])
def test_a_result_is_what_json_makes_of_it(asked: Any) -> None:
    outcome = run(asked, {"left": 3})
    assert outcome.ok
    assert outcome.result == {"total": 4}


async def test_an_asynchronous_backend_runs_beside_a_running_loop() -> None:
    assert run(good.add_slowly, {"left": 3}).result == {"total": 4}


def test_of_a_class_one_object_is_made() -> None:
    assert run(Cluster).result + 1 == run(Cluster).result


def test_a_class_that_is_not_decorated_is_no_backend() -> None:
    with pytest.raises(TypeError, match=r"backends\.Text'> is no backend: the decorator makes one"):
        run(Text)


def test_all_that_is_printed_is_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run(good.talk)
    lines = ["to standard output", "to standard error", "to the log", "from a subprocess"]
    assert outcome.log.splitlines()[:4] == lines
    assert "from C\n" in outcome.log  # before or after the next, as the system buffers it
    assert "without a line's end" in outcome.log
    assert capfd.readouterr().out == outcome.log
    run(good.talk, echo=False)
    print("later")
    assert capfd.readouterr().out == "later\n"


def test_a_log_is_shown_and_the_streams_are_put_back_whatever_happens(capfd: pytest.CaptureFixture[str]) -> None:
    def spoil(job: JobContext) -> None:
        print("last words")
        sys.stdout = io.StringIO()
        raise RuntimeError

    streams = (sys.stdout, sys.stderr)
    with pytest.raises(RuntimeError):
        run(made(spoil))
    assert (sys.stdout, sys.stderr) == streams
    assert capfd.readouterr().out == "last words\n"


def test_every_report_of_progress_is_kept_in_order() -> None:
    def tell(job: JobContext) -> None:
        job.progress(0, stage="reading", eta=timedelta(minutes=1))
        job.progress(7)
        for step in range(200):
            job.progress(step / 200, message="on")

    outcome = run(made(tell))
    assert outcome.progress[0] == Progress(0, "reading", 60, None)
    assert outcome.progress[1:] == tuple(Progress(step / 200, message="on") for step in range(200))
    assert outcome.log == "heliograph: ignored a progress that is not in 0..1: 7\n"


def test_artifacts_are_kept_as_they_were_when_named() -> None:
    def keep(job: JobContext) -> None:
        good.files.function(Nothing(), job)
        job.artifact("stream.bin", io.BytesIO(b"\x00\x01"))
        job.artifact("table.csv", b"3,4\n")

    kept = run(made(keep)).artifacts
    assert {name: (each.content, each.media_type) for name, each in kept.items()} == {
        "table.csv": (b"3,4\n", "text/csv"),
        "plot.png": (b"PNG", "image/png"),
        "notes": (b"...", "text/x-notes"),
        "stream.bin": (b"\x00\x01", "application/octet-stream"),
    }
    assert kept["table.csv"].text == "3,4\n"
    with pytest.raises(ValueError, match="without a slash"):
        run(good.bad_file_name)


def test_a_job_knows_itself_and_has_a_folder_of_its_own(tmp_path: Path) -> None:
    before = Path.cwd()
    seen = run(good.where, attempt=2).result
    assert (seen["attempt"], seen["content"], seen["folder"]) == (2, [], seen["scratch"])
    assert not Path(seen["scratch"]).exists()
    left = datetime.fromisoformat(seen["deadline"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert run(good.where, scratch=tmp_path / "kept").result["scratch"] == str(tmp_path / "kept")
    assert (tmp_path / "kept").exists()
    assert Path.cwd() == before


def test_a_path_is_an_upload_of_which_the_backend_gets_a_copy(tmp_path: Path) -> None:
    def spoil(parameters: good.Input, job: JobContext) -> str:
        parameters.table.write_text("spoilt")
        return parameters.table.name

    table = tmp_path / "one.csv"
    table.write_text("first")
    assert run(good.read, {"table": table, "more": [None, table]}).result == ["first", None, "first"]
    assert run(good.read, {"table": "A"}, inputs={"A": table}).result == ["first"]
    assert run(backend(name="spoil", version="1")(spoil), {"table": table}).result == "one.csv"
    assert table.read_text() == "first"


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"table": Path("absent")}, FileNotFoundError, "there is no file /.*absent"),
        ({"table": datetime}, TypeError, "parameters: type is no JSON value"),
        ({"table": float("nan")}, ValueError, "not JSON compliant"),
    ],
)
def test_what_no_submission_could_say_is_the_tests_mistake(
    parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(good.read, parameters)


def test_a_failed_run_has_no_result_and_says_why() -> None:
    outcome = run(good.add, {"left": 0})
    assert not outcome.ok
    assert outcome.failure == JobError(ErrorKind.USAGE, "parameters.left: Input should be greater than 0")
    with pytest.raises(UnexpectedOutcomeError, match=r"^usage: parameters\.left: Input should be greater than 0$"):
        _ = outcome.result


def test_a_run_that_went_well_has_no_failure_and_says_what_it_has() -> None:
    with pytest.raises(UnexpectedOutcomeError, match=r"it went well, with the result \{'total': 2\}"):
        _ = run(good.add, {"left": 1}).failure


def test_a_defect_comes_out_as_it_is_unless_it_is_caught() -> None:
    with pytest.raises(RuntimeError, match="what nobody expected"):
        run(good.complain, {"kind": "defect"})
    outcome = run(good.complain, {"kind": "defect"}, catch=True)
    assert outcome.failure.message == "RuntimeError: what nobody expected"
    assert outcome.failure.traceback
    assert outcome.failure.traceback.count("  File ") == 1  # the author's own frame, none of ours
    with pytest.raises(UnexpectedOutcomeError, match="fatal: RuntimeError: what nobody expected\nTraceback"):
        _ = outcome.result


def test_who_presses_ctrl_c_is_obeyed() -> None:
    def interrupted(job: JobContext) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(made(interrupted), catch=True)


def test_a_time_limit_interrupts_and_the_backend_may_clean_up() -> None:
    def sleep(job: JobContext) -> None:
        try:
            time.sleep(60)
        finally:
            job.log(f"stopping: {job.cancelled}")

    async def sleep_too(job: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            job.log(f"stopping: {job.cancelled}")

    before = signal.getsignal(signal.SIGTERM)
    for function in (sleep, sleep_too):
        outcome = run(made(function), timeout=timedelta(seconds=0.05))
        assert outcome.error == JobError(ErrorKind.TIMEOUT, "it ran longer than its limit of 0.05 s")
        assert outcome.log == "stopping: True\n"
        assert run(made(function, timeout=timedelta(seconds=0.05)), timeout=timedelta(hours=1)).error == outcome.error
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_time_limit_reaches_an_asynchronous_backend_beside_a_running_loop() -> None:
    outcome = run(made(lambda job: asyncio.sleep(60)), timeout=timedelta(seconds=0.05))
    assert outcome.failure.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("then", ["pass on", "return"])
def test_a_cancellation_interrupts_at_the_report_that_it_is_meant_for(then: str) -> None:
    def work(job: JobContext) -> str:
        job.progress(stage="one")
        try:
            job.progress(stage="two")
            print("not reached")
        except Cancelled:
            if then == "pass on":
                raise
        return "a late result"

    outcome = run(made(work), cancel_when=lambda report: report.stage == "two")
    assert outcome.error == JobError(ErrorKind.CANCELLED, "cancelled on request")
    assert [report.stage for report in outcome.progress] == ["one", "two"]
    assert outcome.log == ""


def test_a_signal_that_means_the_process_is_not_kept_from_it() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        run(made(lambda job: os.kill(os.getpid(), signal.SIGTERM)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]


def test_outside_the_main_thread_a_limit_is_refused_rather_than_forgotten() -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append(run(good.add, {"left": 1}).result)
        with pytest.raises(RuntimeError, match="take the main thread"):
            run(good.add, {"left": 1}, timeout=timedelta(seconds=1))
        seen.append("refused")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [{"total": 2}, "refused"]


def test_a_fake_job_is_all_that_a_context_is(tmp_path: Path) -> None:
    job: JobContext = FakeJob(tmp_path)
    assert job.scratch == tmp_path
    for name, promised in vars(JobContext).items():
        if not name.startswith("_"):
            given = inspect.getattr_static(FakeJob, name, None)
            if inspect.isfunction(promised):
                assert inspect.signature(getattr(FakeJob, name)) == inspect.signature(promised), name
            else:
                assert isinstance(given, property) or hasattr(job, name), name


def test_a_fake_job_keeps_what_it_is_told() -> None:
    job = FakeJob()
    scratch = job.scratch
    job.progress(0.5)
    job.log("a line")
    assert (job.reports, job.lines, job.cancelled) == ([Progress(0.5)], ["a line"], False)
    job.cancel()
    assert job.cancelled
    assert scratch.is_dir()
    del job
    gc.collect()
    assert not scratch.exists()
