"""What callers wrote, run as another user: what it may do, what it may not, and that nothing of it is left."""

import asyncio
import base64
import hashlib
import os
import pickle
import pwd
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from heliograph.client.functions import pickled
from heliograph.jobs.model import JobError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.folder import open_artifact
from heliograph_worker.pool import Pool
from heliograph_worker.scratch import Scratch, ScratchError
from tests.backends_for_tests import Recorder, lives, until
from tests.parts.declared import error_of, pool_of, result_of, task

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root runs jobs as another user"),
]

USER = "nobody"
ENTRUSTED = "".join(f'[{kind}]\nuser = "{USER}"\nroles = ["trusted"]\n' for kind in ("function", "shell"))


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


async def shell(pool: Pool, command: str) -> str:
    seen = Recorder()
    await result_of(pool, task("shell", command=command), seen)
    return seen.text


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


async def test_a_command_line_sees_no_variable_that_is_not_meant_for_everybody(entrusted: Pool) -> None:
    names = {line.partition("=")[0] for line in (await shell(entrusted, "env")).splitlines()}
    assert "PLAIN" in names
    assert not {name for name in names if name.startswith("HELIOGRAPH_")} | (names & {"ARCHIVE_TOKEN"})


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


async def test_a_failed_command_line_says_why(entrusted: Pool) -> None:
    error = await error_of(entrusted, task("shell", command="echo 'no such star' >&2; exit 3"))
    assert error == JobError(ErrorKind.FATAL, "the command ended with exit code 3: no such star")


async def test_a_job_cannot_kill_its_warden_and_leaves_nothing_behind(entrusted: Pool, place: Path) -> None:
    marker = place / "pids"
    marker.touch(mode=0o666)
    marker.chmod(0o666)
    command = (
        f"setsid sh -c 'trap \"\" TERM HUP; sleep 600' & echo $! > {marker}; sleep 600 & echo $! >> {marker};"
        "warden=$(sed -n 's/^PPid:\t//p' /proc/$PPID/status); kill -9 $warden || echo refused; kill -STOP $warden;"
        "kill -9 $PPID"
    )
    seen = Recorder()
    error = await error_of(entrusted, task("shell", command=command), seen)
    assert error.message.startswith("the backend's process ended by signal 9 (SIGKILL)")
    assert "refused" in seen.text
    pids = [int(pid) for pid in marker.read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if lives(pid)]


async def test_a_job_s_processes_do_not_outlive_a_warden_that_somebody_killed(entrusted: Pool, place: Path) -> None:
    marker = place / "pid"
    marker.touch()
    marker.chmod(0o666)
    running = asyncio.create_task(entrusted.run(task("shell", command=f"echo $PPID > {marker}; sleep 600"), Recorder()))
    await until(marker.read_text)
    runner = psutil.Process(int(marker.read_text()))
    await until(lambda: len(runner.children(recursive=True)) == 2)  # the shell, and what it sleeps in
    family = [runner, *runner.children(recursive=True)]
    warden = runner.parent()
    assert warden
    assert (warden.uids().real, runner.uids().real) == (0, pwd.getpwnam(USER).pw_uid)
    warden.kill()
    assert (await running).error
    await until(lambda: not [process for process in family if lives(process.pid)])


async def test_a_process_is_not_used_twice_for_what_callers_wrote(entrusted: Pool) -> None:
    pids = [await shell(entrusted, "echo $PPID") for _ in range(2)]
    assert pids[0] != pids[1]
    assert not lives(int(pids[1]))


async def test_a_function_runs_as_its_user(entrusted: Pool) -> None:
    base = 10

    def work(more: int, *, times: int) -> list[int]:
        return [os.getuid(), (base + more) * times]

    asked = task("function", pickle=pickled(work), args=[1], kwargs={"times": 2})
    assert await result_of(entrusted, asked) == [pwd.getpwnam(USER).pw_uid, 22]


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


async def test_a_file_of_somebody_else_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("root's")
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(PermissionError, match="it is no regular file of the job's: 1"):
        open_artifact(tmp_path / "1")
    os.chown(tmp_path / "1", 65534, 65534)
    open_artifact(tmp_path / "1").close()


async def test_a_folder_is_removed_whatever_its_job_made_of_it(entrusted: Pool, place: Path) -> None:
    outside = place / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").touch()
    before = set(entrusted.folder.iterdir())
    await shell(entrusted, f"mkdir -p a/b; touch a/b/c; ln -s {outside} a/out; chmod 0 a/b a . $TMPDIR")
    assert set(entrusted.folder.iterdir()) == before
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750


async def test_a_folder_is_removed_however_deep_its_job_made_it(entrusted: Pool) -> None:
    before = set(entrusted.folder.iterdir())
    await shell(entrusted, f"mkdir -p {'d/' * 1800}")  # Python goes down less than 1,000
    assert set(entrusted.folder.iterdir()) == before


async def test_a_scratch_folder_that_the_users_cannot_reach_is_refused(tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o700)
    with pytest.raises(ScratchError, match=r"cannot reach the scratch folder .* set HELIOGRAPH_SCRATCH to a folder"):
        Scratch(tmp_path / "scratch", reachable=True).open()


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
