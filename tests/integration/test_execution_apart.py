"""Jobs are kept apart: from what an earlier one left in its process, from other people's, from the worker's own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.scratch import Scratch, ScratchError
from heliograph_worker.task import OutcomeKind, Task
from tests.backends_for_tests import SOURCES, Recorder, environment

GET_DUMPABLE = """
import ctypes
from heliograph_worker.undumpable import forbid_looking_inside
forbid_looking_inside()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


def pool_of(folder: Path, slots: int) -> Pool:
    return Pool(Catalogue.of(SOURCES), slots=slots, scratch_root=folder / "scratch", environment=environment())


@pytest.fixture(params=[1, 2])
async def pool(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    pool = pool_of(tmp_path, request.param)
    await pool.start()
    yield pool
    await pool.close()


async def result_of(pool: Pool, backend: str, owner: str) -> Any:
    number = next(_numbers)
    outcome = await pool.run(Task(f"t{number}", f"job-{number}", 1, backend, {}, owner=owner), Recorder())
    assert outcome.kind is OutcomeKind.DONE, outcome.error
    return outcome.result


_numbers = iter(range(1_000_000))


async def test_a_process_serves_one_owner_alone(pool: Pool) -> None:
    seen: dict[str, set[int]] = {}
    for owner in ("ada", "bob", "ada", "cyd", "bob", "ada"):
        seen.setdefault(owner, set()).add(await result_of(pool, "surroundings-pid", owner))
    assert not seen["ada"] & seen["bob"]
    assert not seen["cyd"] & (seen["ada"] | seen["bob"])


async def test_one_owner_s_jobs_share_a_process(pool: Pool) -> None:
    assert len({await result_of(pool, "surroundings-pid", "ada") for _ in range(4)}) == 1


async def test_processes_of_many_owners_do_not_pile_up(pool: Pool) -> None:
    for number in range(6):
        await result_of(pool, "surroundings-pid", f"owner-{number}")
    assert pool.processes <= 3  # its slots, of which there are two at most, and the spare


async def test_a_job_finds_its_process_as_its_predecessor_found_it(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, 1)
    await pool.start()
    try:
        before = await result_of(pool, "surroundings", "ada")
        assert await result_of(pool, "meddle", "ada") == before["pid"]
        after = await result_of(pool, "surroundings", "ada")
    finally:
        await pool.close()
    assert after == before


def test_nobody_may_look_inside_a_worker() -> None:
    done = subprocess.run([sys.executable, "-c", GET_DUMPABLE], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"


@pytest.mark.parametrize("name", ["x.lock", ".lock", "..lock", "1-abcdef.x.lock", "1-ABCDEF.lock", "1-abcde.lock"])
def test_a_lock_that_is_not_a_worker_s_is_left_alone(tmp_path: Path, name: str) -> None:
    root = tmp_path / "scratch"
    root.mkdir(mode=0o700)
    (root / name).touch()
    beside = root / name.removesuffix(".lock")
    if not beside.exists():
        beside.mkdir()
    scratch = Scratch(root)
    scratch.open()
    assert (root / name).exists()
    assert beside.exists()
    asyncio.run(scratch.close())


@pytest.mark.parametrize("what", ["lock", "folder"])
def test_cleaning_up_follows_no_link(tmp_path: Path, what: str) -> None:
    root, elsewhere = tmp_path / "scratch", tmp_path / "elsewhere"
    root.mkdir(mode=0o700)
    elsewhere.mkdir(mode=0o750)
    (elsewhere / "kept").touch()
    lock, folder = root / "1-abcdef.lock", root / "1-abcdef"
    if what == "lock":
        lock.symlink_to(elsewhere / "kept")
        folder.mkdir()
    else:
        lock.touch()
        folder.symlink_to(elsewhere)
    scratch = Scratch(root)
    scratch.open()
    assert (elsewhere / "kept").exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o750
    assert folder.is_symlink() or folder.is_dir()
    asyncio.run(scratch.close())


def test_a_dead_worker_s_folder_is_removed(tmp_path: Path) -> None:
    lock, folder = tmp_path / "1-abcdef.lock", tmp_path / "1-abcdef"
    lock.touch()
    (folder / "attempt").mkdir(parents=True)
    scratch = Scratch(tmp_path)
    scratch.open()
    assert not lock.exists()
    assert not folder.exists()
    asyncio.run(scratch.close())


def test_a_root_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "a" / "scratch")
    scratch.open()
    assert (tmp_path / "a" / "scratch").stat().st_mode & 0o777 == 0o700
    asyncio.run(scratch.close())


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_root_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    root = tmp_path / "scratch"
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(ScratchError, match=f"the scratch folder {root} .* chmod 700"):
        Scratch(root).open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_root_of_somebody_else_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    with pytest.raises(ScratchError, match="belongs to user 12345"):
        Scratch(root).open()


def test_a_root_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ScratchError, match="is no folder"):
        Scratch(tmp_path / "scratch").open()
