"""What a worker does for jobs with secrets: nothing of one is told by it, or by the next, and nobody else waits."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heliograph.backends.errors import FatalError
from heliograph.backends.result import MAX_BYTES
from heliograph.jobs.states import ErrorKind
from heliograph.masking import MASK, Mask
from heliograph.sealed_parameters import sealed
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.protocol import FromChild, Progress, Question, Raised, Returned, Topic
from heliograph_worker.secrets import JobSecrets
from heliograph_worker.task import Outcome, OutcomeKind, Task
from heliograph_worker.telling import Telling
from tests.backends_for_tests import Recorder, environment, secretive

KEY = "3f1d9c0b7a5e48261122334455667788"


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    catalogue = Catalogue.of(secretive.SOURCES)
    pool = Pool(catalogue, slots=1, scratch_root=tmp_path / "scratch", environment=environment())
    await pool.start()
    yield pool
    await pool.close()


async def outcome_of(pool: Pool, how: str, password: str, seen: Recorder | None = None) -> Outcome:
    secrets = JobSecrets("job", sealed([KEY], "job", [(("main", "password"), password)]), [KEY])
    task = Task("token", "job", 1, "vault", {"main": {"password": MASK}, "how": how}, secrets=secrets)
    return await pool.run(task, seen or Recorder())


async def test_a_process_that_knew_a_secret_runs_no_other_job(pool: Pool) -> None:
    first, second = [(await outcome_of(pool, "keep", f"{name}-secret")).result for name in ("first", "second")]
    assert first[0] != second[0]
    assert first[1] == second[1] == []


async def test_a_secret_is_masked_before_a_text_is_cut(pool: Pool) -> None:
    seen, token = Recorder(), "".join(f"{number:04x}" for number in range(1_000))
    outcome = await outcome_of(pool, "at length", token, seen)
    assert outcome.error is not None
    assert outcome.error.message == f"RuntimeError: {'x' * 986} … {'y' * 1_000}"
    assert outcome.error.traceback is not None
    assert f"RuntimeError: {'x' * 990}{MASK}{'y' * 2_000}" in outcome.error.traceback
    assert [(stage, message) for _, stage, _, message in seen.progress_seen] == [
        (f"{'x' * 40}{MASK} … {'y' * 50}", f"{'x' * 490}{MASK} … {'y' * 500}")
    ]


async def test_a_result_that_fits_is_kept_though_masks_take_more(pool: Pool) -> None:
    outcome = await outcome_of(pool, "again and again", "abcd")
    assert outcome.kind is OutcomeKind.DONE
    assert set(outcome.result) == {MASK}
    assert len(json.dumps(outcome.result)) > MAX_BYTES


async def test_ids_in_questions_are_left_as_they_are() -> None:
    telling = Telling(Mask(["01M8"]))
    asked = [Question(topic=topic, content='["01M8ARBGM6R"]') for topic in Topic if topic is not Topic.REMEMBER]
    assert [await telling.shown(each) for each in asked] == asked
    kept = Question(topic=Topic.REMEMBER, content='{"key": "01M8ARBGM6R"}')
    assert await telling.shown(kept) == kept.model_copy(update={"content": f'{{"key": "{MASK}ARBGM6R"}}'})


LINES = [f"ln{number:04}xyz" for number in range(700)]
TEXTS = [f"x{number:05}" for number in range(30_000)]


@pytest.mark.parametrize(
    "message",
    [
        Question(topic=Topic.REMEMBER, content=json.dumps([*TEXTS, LINES[1]])),
        Raised(kind=ErrorKind.FATAL, message="\n".join(TEXTS), traceback=LINES[1], clean=True),
        Progress(stage="\n".join(TEXTS), message=LINES[1]),
        Returned(result=json.dumps([*TEXTS, LINES[1]]), clean=True),
    ],
    ids=lambda message: message.type,
)
async def test_a_long_search_does_not_hold_up_the_worker(message: FromChild) -> None:
    telling = Telling(Mask(["\n".join(LINES)]))
    searching: asyncio.Task[Any] = asyncio.create_task(
        telling.result(message) if isinstance(message, Returned) else telling.shown(message)
    )
    await asyncio.sleep(0)  # it has begun, and gone on as far as it does on the event loop
    assert not searching.done()
    assert LINES[1] not in repr(await searching)


async def test_what_is_no_result_is_said_to_be_none() -> None:
    with pytest.raises(FatalError):
        await Telling(Mask(["abcd"])).result(Returned(result=json.dumps("x" * (MAX_BYTES - 1)), clean=True))
