"""Declared programs and functions in real child processes."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.pool import Pool
from heliograph_worker.task import Outcome, OutcomeKind, StopReason, Task
from tests.backends_for_tests import Recorder, environment, lives, until
from tests.parts.declared import error_of, pool_of, result_of, task

pytestmark = pytest.mark.asyncio(loop_scope="module")


# A script of the operator's stands for a program; what follows are its arguments.
TABLES = r"""
[command.show]
argv = ["sh", "-c", 'for each in "$@"; do printf "<%s>" "$each"; done', "show", "--text={text}", "{text}", "{loud?-l}"]
[command.show.parameters]
text = {type = "text", may_start_with_dash = true}
loud = {type = "boolean"}

[command.end]
argv = [
    "sh", "-c", "echo said; echo 'the last' >&2; printf 'line \u001b[0m' >&2; kill -$2 $$; exit $1", "end",
    "{code}", "{signal}",
]
usage_codes = [2, 64]
transient_codes = [75]
[command.end.parameters]
code = {type = "integer", default = 0}
signal = {type = "integer", default = 0}

[command.log_in]
argv = ["sh", "-c", 'tr "\\0" " " < /proc/$$/cmdline; echo; echo "${{KEY-none}}"']
environment = {KEY = "key"}
[command.log_in.parameters]
key = {type = "text", secret = true, optional = true}

[command.count]
argv = ["wc", "-c", "{table}"]
[command.count.parameters]
table = {type = "file"}

[command.answer]
argv = ["sh", "-c", "echo beside >&2; $1", "answer", "{script}"]
result = "stdout-json"
[command.answer.parameters]
script = {type = "text"}

[command.tell]
argv = ["sh", "-c", 'echo beside >&2; eval "$1"', "tell", "{script}"]
result = "stdout-text"
[command.tell.parameters]
script = {type = "text"}

[command.make]
argv = ["sh", "-c", 'eval "$1"', "make", "{script}"]
artifacts = ["*.txt", "out/*", "a?.txt", "**/deep.csv"]
[command.make.parameters]
script = {type = "text"}

[command.stubborn]
argv = ["sh", "-c", 'eval "$2"', "stubborn", "{file}", "{script}"]
[command.stubborn.parameters]
script = {type = "text"}
file = {type = "text"}

[call]
functions = [
    "math:hypot", "datetime:datetime.fromtimestamp", "decimal:Decimal", "asyncio:sleep", "statistics:mean",
]
"""

TOO_LONG = (
    "sh wrote more than 1,000,000 bytes to its standard output; "
    "results of that size belong into files, which the table's artifacts name"
)


LONG_GRACE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    async with pool_of(tmp_path_factory.mktemp("pool"), TABLES, grace=LONG_GRACE) as opened:
        yield opened


@pytest.mark.parametrize("text", ["; echo no", "$(echo no)", "--version", "two\nlines", "π ✓", "", "'\"\\"])
async def test_a_program_gets_a_text_as_it_is(pool: Pool, text: str) -> None:
    seen = Recorder()
    assert await result_of(pool, task("show", text=text, loud=True), seen) == {"exit_code": 0}
    assert seen.text == f"<--text={text}><{text}><-l>"


async def test_a_program_gets_the_path_of_an_upload(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "table").write_text("12345")
    seen = Recorder()
    asked = task("count", table="A")
    outcome = await pool.run(
        Task(asked.token, asked.job, 1, "count", {"table": "A"}, inputs={"A": tmp_path / "table"}), seen
    )
    assert (outcome.kind, seen.text) == (OutcomeKind.DONE, f"5 {tmp_path}/table\n")


@pytest.mark.parametrize(
    ("ends", "kind", "how"),
    [
        ({"code": 1}, ErrorKind.FATAL, "with exit code 1"),
        ({"code": 2}, ErrorKind.USAGE, "with exit code 2"),
        ({"code": 64}, ErrorKind.USAGE, "with exit code 64"),
        ({"code": 75}, ErrorKind.TRANSIENT, "with exit code 75"),
        ({"signal": 11}, ErrorKind.FATAL, "by signal 11 (SIGSEGV)"),
    ],
)
async def test_an_exit_code_says_what_kind_of_error_it_is(
    pool: Pool, ends: dict[str, int], kind: ErrorKind, how: str
) -> None:
    seen = Recorder()
    assert await error_of(pool, task("end", **dict[str, Any](ends)), seen) == JobError(
        kind, f"sh ended {how}: line  [0m"
    )
    assert sorted(seen.text.splitlines()) == ["line \x1b[0m", "said", "the last"]


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("echo [1,null]", [1, None]),
        ("echo NaN", "result: nan is no JSON number; use null"),
        ("echo star", "sh wrote no JSON to its standard output: Expecting value: line 1 column 1 (char 0)"),
        ("true", "sh wrote no JSON to its standard output: Expecting value: line 1 column 1 (char 0)"),
        ("yes", None),
        ("false", "sh ended with exit code 1: beside"),
    ],
)
async def test_a_program_s_output_can_be_the_result(pool: Pool, script: str, result: Any) -> None:
    seen = Recorder()
    if script == "yes":
        script, result = "seq 1 300000", TOO_LONG
    outcome = await pool.run(task("answer", script=script), seen)
    assert (outcome.error.message if outcome.error else outcome.result) == result
    assert seen.text == "beside\n"


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("echo 'π is \"3\"'; echo", {"output": 'π is "3"\n\n'}),
        ("true", {"output": ""}),
        (r"printf '\377a'", {"output": "\ufffda"}),
        ("head -c 999000 /dev/zero | tr '\\0' x", {"output": "x" * 999_000}),
        ("head -c 1000001 /dev/zero | tr '\\0' x", None),
        ("head -c 600000 /dev/zero | tr '\\0' '\"'", None),  # fits, but not with what JSON puts before each quote
        ("echo no; exit 1", "sh ended with exit code 1: beside"),
    ],
)
async def test_a_program_s_text_can_be_the_result_and_is_its_log_too(pool: Pool, script: str, result: Any) -> None:
    seen = Recorder()
    outcome = await pool.run(task("tell", script=script), seen)
    assert (outcome.error.message if outcome.error else outcome.result) == (result or TOO_LONG)
    log = b"".join(seen.pieces).decode(errors="replace")
    assert "beside\n" in log
    if isinstance(outcome.result, dict) and len(log) < 1000:  # a log in full leaves something out
        assert sorted(log.replace("beside\n", "", 1)) == sorted(outcome.result["output"])


async def test_files_that_the_patterns_name_are_kept(pool: Pool) -> None:
    seen = Recorder()
    script = (
        "echo 1 > a1.txt; echo 2 > 'b c.txt'; echo 3 > other.dat; mkdir -p out/x y/z; echo 4 > out/p.png; "
        "echo 5 > y/z/deep.csv; ln -s /etc/passwd out/l.txt; ln -s /etc link; ln -s a1.txt l.txt; mkfifo out/pipe"
    )
    await result_of(pool, task("make", script=script), seen)
    assert seen.artifacts == {
        "a1.txt": (b"1\n", "text/plain"),
        "b c.txt": (b"2\n", "text/plain"),
        "out-p.png": (b"4\n", "image/png"),
        "y-z-deep.csv": (b"5\n", "text/csv"),
    }
    refused = "heliograph: '{}' is not kept: it is no regular file of the job's folder"
    assert seen.text.splitlines() == [refused.format(name) for name in ("l.txt", "out/l.txt", "out/pipe")]


async def test_files_of_a_program_that_failed_are_kept_as_well(pool: Pool) -> None:
    seen = Recorder()
    await error_of(pool, task("make", script="echo why > log.txt; exit 1"), seen)
    assert seen.artifacts == {"log.txt": (b"why\n", "text/plain")}


async def test_files_are_not_found_through_a_link_to_elsewhere(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "deep.csv").write_text("private")
    seen = Recorder()
    await result_of(pool, task("make", script=f"ln -s {tmp_path} out"), seen)
    assert seen.artifacts == {}


async def test_a_program_that_leaves_something_running_does_not_hold_its_job_up(pool: Pool, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    await result_of(pool, task("make", script=f"sleep 600 & echo $! > {marker}"))
    await until(lambda: not lives(int(marker.read_text())))


async def test_a_cancelled_program_gets_its_grace(pool: Pool, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    assert await stop_stubborn(pool, f"trap 'echo cleaned > {marker}; exit' TERM", marker) < LONG_GRACE
    assert marker.read_text() == "cleaned\n"


async def test_a_cancelled_program_gets_no_more_than_its_grace(tmp_path: Path) -> None:
    async with pool_of(tmp_path, TABLES, grace=0.5) as pool:
        assert await stop_stubborn(pool, "trap '' TERM", tmp_path / "pid") >= 0.5


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def stop_stubborn(pool: Pool, trap: str, marker: Path) -> float:
    """Cancel a program that runs until it is made to stop, see that it is gone, and return how long that took."""
    # It forks nothing: the shell passes over a signal that comes while it does, and so does what it forks.
    asked = task("stubborn", script=f"{trap}; echo $$ > $1; while :; do :; done", file=str(marker))
    running = asyncio.create_task(pool.run(asked, Recorder()))
    await until(lambda: read(marker))
    pid = int(read(marker))
    began = time.monotonic()
    pool.stop(asked.token, StopReason.CANCELLED)
    assert await running == Outcome(OutcomeKind.CANCELLED)
    assert not lives(pid)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        ("math:hypot", {"args": [3, 4]}, 5.0),
        ("statistics:mean", {"kwargs": {"data": [1, 2]}}, 1.5),
        ("asyncio:sleep", {"args": [0, "slept"]}, "slept"),
        ("statistics:mean", {}, (ErrorKind.USAGE, "statistics:mean: missing a required argument: 'data'")),
        (
            "statistics:mean",
            {"args": [[]]},
            (ErrorKind.FATAL, "StatisticsError: mean requires at least one data point"),
        ),
        ("decimal:Decimal", {"args": ["1"]}, (ErrorKind.FATAL, "result: decimal.Decimal is no JSON value")),
        ("os:system", {"args": ["id"]}, (ErrorKind.USAGE, "parameters.function: Input should be 'math:hypot', ")),
    ],
)
async def test_a_listed_function_is_called(pool: Pool, function: str, arguments: dict[str, Any], result: Any) -> None:
    outcome = await pool.run(task("call", function=function, **arguments), Recorder())
    if outcome.error:
        kind, message = result
        assert outcome.error.kind is kind
        assert outcome.error.message.startswith(message)
    else:
        assert outcome.result == result


@pytest.mark.parametrize(("given", "told"), [({"key": "-sword fish"}, "-sword fish"), ({}, "none")])
async def test_a_secret_is_handed_over_in_a_variable(pool: Pool, given: dict[str, str], told: str) -> None:
    seen = Recorder()
    assert await result_of(pool, task("log_in", **dict[str, Any](given)), seen) == {"exit_code": 0}
    arguments, variable = seen.text.splitlines()
    assert "sh -c " in arguments
    assert "sword" not in arguments
    assert variable == told


async def test_a_worker_whose_file_cannot_be_read_says_so_and_ends(tmp_path: Path) -> None:
    settings = {
        "HELIOGRAPH_MONGODB_URL": "mongodb://localhost:1/", "HELIOGRAPH_BUS_URL": "amqp://localhost:1/",
        "HELIOGRAPH_BACKENDS_FILE": f"{tmp_path}/backends.toml",
    }  # fmt: skip
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heliograph_worker", env=environment() | settings, stderr=asyncio.subprocess.PIPE
    )
    _, said = await worker.communicate()
    assert worker.returncode == 1
    assert said.decode().splitlines()[-2:] == [
        "heliograph cannot start:",
        f"  HELIOGRAPH_BACKENDS_FILE names {tmp_path}/backends.toml, which cannot be read: No such file or directory",
    ]
