"""Declared backends for tests: catalogues of a file's tables, and pools that run them."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from heliograph.backends import Backend
from heliograph.jobs.model import JobError
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.pool import Pool
from heliograph_worker.task import OutcomeKind, Task
from tests.backends_for_tests import Recorder, environment


def load(folder: Path, text: str, *sources: str) -> Catalogue:
    file = folder / "backends.toml"
    file.write_text(text, encoding="utf-8")
    return Catalogue.of(sources, file)


def only(folder: Path, text: str) -> Backend:
    catalogue = load(folder, text)
    assert not catalogue.broken, catalogue.broken
    (backend,) = catalogue.backends.values()
    return backend


def values_of(backend: Backend, **given: Any) -> dict[str, Any]:
    return backend.parse(given, {"A": Path("/scratch/A/-table.csv")}).model_dump(by_alias=True)


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


async def result_of(pool: Pool, asked: Task, seen: Recorder | None = None) -> Any:
    outcome = await pool.run(asked, seen or Recorder())
    assert outcome.kind is OutcomeKind.DONE, outcome.error
    return outcome.result


async def error_of(pool: Pool, asked: Task, seen: Recorder | None = None) -> JobError:
    outcome = await pool.run(asked, seen or Recorder())
    assert outcome.error, outcome
    return outcome.error
