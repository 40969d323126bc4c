"""The rules of pull queues that need no database: names, and what an agent's report means."""

from datetime import UTC, datetime
from typing import Any

import pytest

from heliograph.errors import ConflictError
from heliograph.jobs.model import Job, JobError, Lease
from heliograph.jobs.states import ErrorKind, State
from heliograph.jobs.store.agents import Report, Standing
from heliograph.jobs.store.claims import Progress
from heliograph.queues.names import name_fault
from heliograph.queues.reports import Step, Told, finish_of, step

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MINE, THEIRS = "the token of my lease", "the token of somebody else's"
REPORT = Report(MINE, "digest")
HELD = [State.CLAIMED, State.RUNNING]
OVER = [State.DONE, State.FAILED, State.CANCELLED]


def standing(state: State, token: str | None = MINE, reported: Report | None = None) -> Standing:
    job = Job(
        id="j", queue="q", owner="ada", state=state, series=1, seq=1, attempt=1, max_attempts=3, priority=0,
        parameters={}, created_at=NOW, updated_at=NOW, lease=Lease("dome-1", token, NOW) if token else None,
    )  # fmt: skip
    return Standing(job, reported)


@pytest.mark.parametrize(
    "name", ["a", "Mount Wilson", "mrc1/enclosure", "Großer Refraktor", "a..b", "...", "x" * 200, "claim", "a/claim"]
)
def test_a_name_is_free_text(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "x" * 201, "two\nlines", "nothing\x00", "\x1f", "tab\t", "\x7f", " a", "a ", " ", ".", "..", "a/../b", "./a"],
)
def test_a_name_that_cannot_be_used(name: str) -> None:
    assert name_fault(name)


@pytest.mark.parametrize(
    ("present", "told", "expected"),
    [
        (State.CLAIMED, None, Step.PROGRESS),
        (State.CLAIMED, State.CLAIMED, Step.PROGRESS),
        (State.CLAIMED, State.RUNNING, Step.BEGIN),
        (State.RUNNING, None, Step.PROGRESS),
        (State.RUNNING, State.RUNNING, Step.PROGRESS),
        *[(present, told, Step.END) for present in HELD for told in OVER],
    ],
)
def test_what_a_report_does(present: State, told: State | None, expected: Step) -> None:
    assert step(standing(present), REPORT, told) is expected


def test_no_report_leads_back() -> None:
    with pytest.raises(ConflictError, match="running already"):
        step(standing(State.RUNNING), REPORT, State.CLAIMED)


@pytest.mark.parametrize("told", [None, *State])
def test_a_report_under_another_lease_does_nothing(told: State | None) -> None:
    for present in HELD:
        with pytest.raises(ConflictError, match="somebody else"):
            step(standing(present, THEIRS), REPORT, told)
    with pytest.raises(ConflictError, match="waits to be claimed"):
        step(standing(State.QUEUED, None), REPORT, told)
    for present in OVER:
        with pytest.raises(ConflictError, match=f"{present} already"):
            step(standing(present, None), REPORT, told)


@pytest.mark.parametrize("present", list(State))
def test_the_report_that_ended_it_is_known_again_and_no_other(present: State) -> None:
    assert step(standing(present, None, REPORT), REPORT, State.DONE) is Step.KNOWN
    for other in (Report(MINE, "another digest"), Report(THEIRS, "digest")):
        with pytest.raises(ConflictError):
            step(standing(present, None, REPORT), other, State.DONE)


@pytest.mark.parametrize(
    ("kind", "is_retried"), [(ErrorKind.TRANSIENT, True), (ErrorKind.USAGE, False), (ErrorKind.FATAL, False)]
)
def test_what_passes_is_tried_again(kind: ErrorKind, is_retried: bool) -> None:
    finish = finish_of(Told(State.FAILED, error=JobError(kind, "clouds")), 1, 0.5)
    assert (finish.state, finish.error) == (State.FAILED, JobError(kind, "clouds"))
    assert (finish.retry_after is not None) is is_retried


def test_each_wait_is_longer() -> None:
    told = Told(State.FAILED, error=JobError(ErrorKind.TRANSIENT, "clouds"))
    waits = [finish_of(told, attempt, 0).retry_after for attempt in (1, 2, 3)]
    assert waits == sorted(set(waits), key=lambda wait: wait or 0)


def test_a_failure_without_a_reason_has_the_last_word_as_one() -> None:
    assert finish_of(Told(State.FAILED, Progress(message="the dome is stuck")), 1, 0).error == JobError(
        ErrorKind.FATAL, "the dome is stuck"
    )
    error = finish_of(Told(State.FAILED), 1, 0).error
    assert error
    assert error.message


@pytest.mark.parametrize(
    "other",
    [
        {"state": State.FAILED}, {"result": 2}, {"result": None}, {"progress": Progress(0.5)},
        {"progress": Progress(message="m")}, {"error": JobError(ErrorKind.FATAL, "e")},
    ],
)  # fmt: skip
def test_reports_that_differ_have_digests_that_differ(other: dict[str, Any]) -> None:
    told: dict[str, Any] = {"state": State.DONE, "result": {"a": 1, "b": [1.5]}}
    assert Told(**told).digest == Told(**told | {"result": {"b": [1.5], "a": 1}}).digest
    assert Told(**told).digest != Told(**told | other).digest
