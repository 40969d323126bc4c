"""Declared backends in real child processes: programs, listed functions, and what callers wrote as another user."""

import asyncio
import base64
import hashlib
import itertools
import os
import pickle
import pwd
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from heliograph.client.functions import pickled
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.folder import open_artifact
from heliograph_worker.pool import Pool
from heliograph_worker.scratch import Scratch, ScratchError
from heliograph_worker.task import Outcome, OutcomeKind, StopReason, Task
from tests.backends_for_tests import Recorder, environment, lives, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = "nobody"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs jobs as another user")

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

[command.count]
argv = ["wc", "-c", "{table}"]
[command.count.parameters]
table = {type = "file"}

[command.answer]
argv = ["sh", "-c", "echo beside >&2; $1", "answer", "{script}"]
result = "stdout-json"
[command.answer.parameters]
script = {type = "text"}

[command.make]
argv = ["sh", "-c", "{script}"]
artifacts = ["*.txt", "out/*", "a?.txt", "**/deep.csv"]
[command.make.parameters]
script = {type = "text"}

[command.stubborn]
argv = ["sh", "-c", "{script}", "stubborn", "{file}"]
[command.stubborn.parameters]
script = {type = "text"}
file = {type = "text"}

[call]
functions = [
    "math:hypot", "datetime:datetime.fromtimestamp", "decimal:Decimal", "asyncio:sleep", "statistics:mean", "os:sep",
    "statistics:nothing",
]
"""
ENTRUSTED = "".join(f'[{kind}]\nuser = "{USER}"\nroles = ["trusted"]\n' for kind in ("function", "shell"))

_tokens = map(str, itertools.count())


def task(backend: str, *, owner: str = "ada", **parameters: Any) -> Task:
    token = next(_tokens)
    return Task(f"token-{token}", f"job-{token}", 1, backend, parameters, timedelta(seconds=60), owner=owner)


@asynccontextmanager
async def pool_of(folder: Path, tables: str, grace: float = 5) -> AsyncIterator[Pool]:
    file = folder / "backends.toml"
    file.write_text(tables)
    file.chmod(0o600)
    catalogue = Catalogue.of([], file)
    assert not catalogue.broken, catalogue.broken
    secrets = {"HELIOGRAPH_MONGODB_URL": "x", "ARCHIVE_TOKEN": "x", "PLAIN": "x"}
    pool = Pool(
        catalogue, slots=2, scratch_root=folder / "scratch", grace=timedelta(seconds=grace),
        environment=environment() | secrets, keep=frozenset({"ARCHIVE_TOKEN"}),
    )  # fmt: skip
    await pool.start()
    yield pool
    await pool.close()
    assert not list((folder / "scratch").iterdir())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    async with pool_of(tmp_path_factory.mktemp("pool"), TABLES, grace=0.5) as opened:
        yield opened


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that other users may pass through, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def entrusted(place: Path) -> AsyncIterator[Pool]:
    async with pool_of(place, ENTRUSTED) as opened:
        yield opened


async def result_of(pool: Pool, asked: Task, seen: Recorder | None = None) -> Any:
    outcome = await pool.run(asked, seen or Recorder())
    assert outcome.kind is OutcomeKind.DONE, outcome.error
    return outcome.result


async def error_of(pool: Pool, asked: Task, seen: Recorder | None = None) -> JobError:
    outcome = await pool.run(asked, seen or Recorder())
    assert outcome.error, outcome
    return outcome.error


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
        script, result = "seq 1 300000", "sh wrote more than 1,000,000 bytes to its standard output"
    outcome = await pool.run(task("answer", script=script), seen)
    assert (outcome.error.message if outcome.error else outcome.result) == result
    assert seen.text == "beside\n"


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


@pytest.mark.parametrize("ignores", [False, True])
async def test_a_cancelled_program_gets_its_grace_and_no_more(pool: Pool, tmp_path: Path, ignores: bool) -> None:
    marker = tmp_path / "pid"
    trap = "trap '' TERM" if ignores else f"trap 'echo cleaned > {marker}; exit' TERM"
    asked = task("stubborn", script=f"{trap}; echo $$ > $1; while :; do sleep 0.05; done", file=str(marker))
    running = asyncio.create_task(pool.run(asked, Recorder()))
    await until(lambda: marker.exists() and marker.read_text())
    pid = int(marker.read_text())
    pool.stop(asked.token, StopReason.CANCELLED)
    began = time.monotonic()
    assert await running == Outcome(OutcomeKind.CANCELLED)
    assert (time.monotonic() - began >= 0.5) is ignores  # the grace
    assert not lives(pid)
    if not ignores:
        assert marker.read_text() == "cleaned\n"


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
        ("os:sep", {}, (ErrorKind.FATAL, "os:sep is no function but str")),
        ("os:system", {"args": ["id"]}, (ErrorKind.USAGE, "parameters.function: Input should be 'math:hypot', ")),
        ("statistics:nothing", {}, (ErrorKind.FATAL, "statistics:nothing is not to be had on this worker: module ")),
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


async def shell(pool: Pool, command: str) -> str:
    seen = Recorder()
    await result_of(pool, task("shell", command=command), seen)
    return seen.text


@as_root
async def test_a_command_line_runs_as_its_user_and_nobody_more(entrusted: Pool) -> None:
    uid, gid = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid
    groups = os.getgroups()
    os.setgroups([0, 4242])  # the worker's, as an operator may have given it
    try:
        said = await shell(
            entrusted, "id -u; id -g; id -G; grep -E 'CapPrm|CapEff|NoNewPrivs' /proc/self/status; echo ~"
        )
    finally:
        os.setgroups(groups)
    nothing = "0" * 16
    assert said.split() == [
        *map(str, (uid, gid, gid)), "CapPrm:", nothing, "CapEff:", nothing, "NoNewPrivs:", "1",
        pwd.getpwnam(USER).pw_dir,
    ]  # fmt: skip


@as_root
async def test_a_command_line_sees_no_variable_that_is_not_meant_for_everybody(entrusted: Pool) -> None:
    names = {line.partition("=")[0] for line in (await shell(entrusted, "env")).splitlines()}
    assert "PLAIN" in names
    assert not {name for name in names if name.startswith("HELIOGRAPH_")} | (names & {"ARCHIVE_TOKEN"})


@as_root
async def test_a_command_line_works_in_a_folder_of_its_own_and_reads_no_other(entrusted: Pool, place: Path) -> None:
    other = entrusted.folder / "inputs"
    other.mkdir(mode=0o700)
    (other / "secret").write_text("x")
    async with entrusted._scratch.attempt() as beside:
        said = await shell(
            entrusted,
            "pwd; touch mine $TMPDIR/mine && echo made; cd ..; "
            f"for each in . .. {place} {place}/scratch {beside.root} {beside.work} {other}; do "
            "ls $each && echo listed; done; "
            f"cat {place}/backends.toml {other}/secret && echo read; "
            "touch new; mv work gone; rmdir artifacts; ln -s /etc new; true",
        )
    lines = said.splitlines()
    assert lines[0].startswith(f"{entrusted.folder}/")
    assert lines[1] == "made"
    assert "listed" not in lines
    assert "read" not in lines
    assert sum(line.endswith("Permission denied") for line in lines) == 7 + 2 + 4
    other.joinpath("secret").unlink()
    other.rmdir()


@as_root
async def test_a_failed_command_line_says_why(entrusted: Pool) -> None:
    error = await error_of(entrusted, task("shell", command="echo 'no such star' >&2; exit 3"))
    assert error == JobError(ErrorKind.FATAL, "the command ended with exit code 3: no such star")


@as_root
async def test_a_job_cannot_kill_its_warden_and_leaves_nothing_behind(entrusted: Pool, place: Path) -> None:
    marker = place / "pids"
    marker.touch(mode=0o666)
    marker.chmod(0o666)
    command = (
        f"setsid sh -c 'trap \"\" TERM HUP; sleep 600' & echo $! > {marker}; sleep 600 & echo $! >> {marker};"
        "warden=$(sed -n 's/^PPid:\t//p' /proc/$PPID/status); kill -9 $warden || echo refused; kill -STOP $warden;"
        "kill -9 $PPID; kill -9 -1"
    )
    seen = Recorder()
    error = await error_of(entrusted, task("shell", command=command), seen)
    assert error.message.startswith("the backend's process ended by signal 9 (SIGKILL)")
    assert "refused" in seen.text
    pids = [int(pid) for pid in marker.read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if lives(pid)]


@as_root
async def test_a_job_s_process_does_not_outlive_a_warden_that_somebody_killed(entrusted: Pool, place: Path) -> None:
    marker = place / "pid"
    marker.touch()
    marker.chmod(0o666)
    running = asyncio.create_task(entrusted.run(task("shell", command=f"echo $PPID > {marker}; sleep 600"), Recorder()))
    await until(marker.read_text)
    runner = psutil.Process(int(marker.read_text()))
    family = [runner, *runner.children()]
    warden = runner.parent()
    assert warden
    assert (warden.uids().real, runner.uids().real) == (0, pwd.getpwnam(USER).pw_uid)
    warden.kill()
    assert (await running).error
    await until(lambda: not lives(runner.pid))
    for process in family[1:]:
        process.kill()


@as_root
async def test_a_process_is_not_used_twice_for_what_callers_wrote(entrusted: Pool) -> None:
    pids = [await shell(entrusted, "echo $PPID") for _ in range(2)]
    assert pids[0] != pids[1]
    assert not lives(int(pids[1]))


@as_root
async def test_a_function_runs_as_its_user(entrusted: Pool) -> None:
    base = 10

    def work(more: int, *, times: int) -> list[int]:
        return [os.getuid(), (base + more) * times]

    asked = task("function", pickle=pickled(work), args=[1], kwargs={"times": 2})
    assert await result_of(entrusted, asked) == [pwd.getpwnam(USER).pw_uid, 22]


@as_root
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no base64!", "parameters.pickle: is not written in base64"),
        ("aGVsbG8=", "parameters.pickle: cannot be read here, with Python 3."),
        (base64.b64encode(pickle.dumps([1])).decode(), "parameters.pickle: holds no function but list"),
        (base64.b64encode(b"cno_such_module\nrun\n.").decode(), "parameters.pickle: cannot be read here, with Python"),
    ],
)
async def test_what_is_no_function_is_an_error_of_usage(entrusted: Pool, given: str, message: str) -> None:
    error = await error_of(entrusted, task("function", pickle=given))
    assert (error.kind, error.message[: len(message)]) == (ErrorKind.USAGE, message)


@as_root
async def test_who_runs_what_is_written_to_the_log_once(entrusted: Pool) -> None:
    command = "true " + "x" * 300
    with capture_logs() as lines:
        asked = task("shell", command=command)
        await entrusted.run(asked, Recorder())
    (line,) = [line for line in lines if line["event"] == "audit"]
    assert line == {
        "event": "audit", "log_level": "warning", "job": asked.job, "attempt": 1, "owner": "ada", "backend": "shell",
        "user": USER, "command": command[:200],
        "sha256": hashlib.sha256(command.encode()).hexdigest(),
    }  # fmt: skip


@as_root
async def test_a_link_or_a_pipe_in_place_of_an_artifact_is_refused(entrusted: Pool) -> None:
    class Keeper(Recorder):
        async def artifact(self, name: str, path: Path, media_type: str) -> None:
            with open_artifact(path) as file:
                self.artifacts[name] = (file.read(), media_type)

    def forge(make: str) -> None:
        """Say that there is an artifact, on the control socket, once something else lies in its place."""
        import gc
        import subprocess

        from heliograph_worker.child.context import ChildContext
        from heliograph_worker.protocol import ArtifactMade

        subprocess.run(make, shell=True, check=True, cwd="../artifacts")
        (context,) = [each for each in gc.get_objects() if isinstance(each, ChildContext)]
        context._channel.send(ArtifactMade(name="stolen", number=1, media_type="text/plain"))

    function = pickled(forge)
    for make, refused in [
        ("ln -s /etc/shadow 1", "Too many levels of symbolic links"),
        ("mkfifo 1", "it is no regular file of the job's"),
        ("mkdir 1", "it is no regular file of the job's"),
    ]:
        seen = Keeper()
        error = await error_of(entrusted, task("function", pickle=function, args=[make]), seen)
        assert (error.kind, seen.artifacts) == (ErrorKind.TRANSIENT, {})
        assert refused in error.message
    seen = Keeper()
    await result_of(entrusted, task("function", pickle=function, args=["echo mine > 1"]), seen)
    assert seen.artifacts == {"stolen": (b"mine\n", "text/plain")}


@as_root
async def test_a_file_of_somebody_else_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("root's")
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(PermissionError, match="it is no regular file of the job's: 1"):
        open_artifact(tmp_path / "1")
    os.chown(tmp_path / "1", 65534, 65534)
    open_artifact(tmp_path / "1").close()


@as_root
async def test_a_folder_is_removed_whatever_its_job_made_of_it(entrusted: Pool, place: Path) -> None:
    outside = place / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").touch()
    before = set(entrusted.folder.iterdir())
    await shell(entrusted, f"mkdir -p a/b; touch a/b/c; ln -s {outside} a/out; chmod 0 a/b a . $TMPDIR")
    assert set(entrusted.folder.iterdir()) == before
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750


@as_root
async def test_a_folder_is_removed_however_deep_its_job_made_it(entrusted: Pool) -> None:
    before = set(entrusted.folder.iterdir())
    await shell(entrusted, f"mkdir -p {'d/' * 1800}")  # Python goes down less than 1,000
    assert set(entrusted.folder.iterdir()) == before


@as_root
async def test_a_scratch_folder_that_the_users_cannot_reach_is_refused(tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o700)
    with pytest.raises(ScratchError, match=r"cannot reach the scratch folder .* set HELIOGRAPH_SCRATCH to a folder"):
        Scratch(tmp_path / "scratch", reachable=True).open()


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


@as_root
async def test_what_cannot_be_removed_is_not_forced_by_a_path_that_a_job_may_have_bent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").touch()

    def bent(folder: Path, *, onerror: Any, **_: Any) -> None:
        """Fail as where a job replaced a folder by a link, after it was listed and before it was emptied."""
        (folder / "bent").symlink_to(outside)
        onerror(os.unlink, f"{folder}/bent/kept", None)

    scratch = Scratch(tmp_path / "scratch")
    scratch.open()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", bent)
        async with scratch.attempt() as folder:
            (folder.work / "made").touch()
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750
    await scratch.close()
