"""What ``heliograph.testing`` says of a backend is what a worker says of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from heliograph.masking import MASK
from heliograph.sealed_parameters import sealed
from heliograph.testing import run
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.protocol import Topic
from heliograph_worker.secrets import JobSecrets
from heliograph_worker.task import OutcomeKind, Task
from tests.backends_for_tests import SOURCES, Recorder, bad, environment, good, secretive

SEAL_KEY = "3f1d9c0b7a5e48261122334455667788"
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
    pool = Pool(
        Catalogue.of([*SOURCES, *secretive.SOURCES]),
        slots=2,
        scratch_root=tmp_path / "scratch",
        environment=environment(),
    )
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


class Keeping(Recorder):
    """Keeps what the job wants to be remembered."""

    async def answer(self, topic: Topic, content: Any) -> Any:
        assert topic is Topic.REMEMBER
        self.kept = content


@pytest.mark.parametrize("how", ["well", "tell", "tell both", "at length", "raise", "once"])
async def test_a_secret_is_masked_as_a_worker_masks_it(pool: Pool, how: str) -> None:
    password, pin, seen = 'correct-"horse"-bättery', "271828", Keeping()
    blob = sealed([SEAL_KEY], "job", [(("main", "password"), password), (("pin",), pin)])
    task = asked("vault", {"main": {"password": MASK}, "pin": MASK, "how": how})
    theirs = await pool.run(replace(task, secrets=JobSecrets("job", blob, [SEAL_KEY])), seen)
    whole = {"main": {"password": password}, "pin": pin, "how": how}
    ours = await asyncio.to_thread(run, secretive.vault, whole, catch=True)
    assert theirs.kind is (OutcomeKind.FAILED if how in ("at length", "raise", "once") else OutcomeKind.DONE)
    assert theirs.result == ours.returned
    assert (theirs.error and theirs.error.message) == (ours.error and ours.error.message)
    assert seen.text == ours.log
    assert seen.artifacts == {name: (each.content, each.media_type) for name, each in ours.artifacts.items()}
    assert getattr(seen, "kept", {}) == dict(ours.remembered)
    assert [(each[1], each[3]) for each in seen.progress_seen] == [(each.stage, each.message) for each in ours.progress]
    told = repr([theirs, ours, {**seen.__dict__, "artifacts": list(seen.artifacts)}])
    assert "correct" not in told
    assert "ttery" not in told
    assert pin not in told


def test_a_child_may_be_given_a_secret_where_it_is_one() -> None:
    parameters = {"main": {"password": "correct-horse-battery"}}
    handed_on = run(secretive.vault, {**parameters, "how": "hand on"}, children={"vault": secretive.vault})
    assert handed_on.result == [21, []]
    assert handed_on.submitted[0].parameters["main"] == {"password": MASK}
    shown = run(secretive.vault, {**parameters, "how": "show to a child"}, children={"vault": secretive.vault})
    assert shown.submitted == ()
    assert "name: this holds a secret of the job that submits: only a secret parameter may hold one" in shown.log


async def test_a_time_limit_is_told_as_a_worker_tells_it(pool: Pool, tmp_path: Path) -> None:
    limit = timedelta(seconds=0.5)
    marker = {"file": str(tmp_path / "marker")}
    seen = Recorder()
    theirs = await pool.run(asked("hang", marker, limit), seen)
    ours = run(bad.hang, marker, timeout=limit)
    assert theirs.error == ours.error
    assert seen.text == ours.log
