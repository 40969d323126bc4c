"""The wire's models and the plain functions that write them: the same fields, and strict about what they take."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from heliograph.jobs.model import Artifact, Change, Job, JobError
from heliograph.jobs.states import ErrorKind, State
from heliograph.wire import ArtifactView, HistoryPage, JobView, Moment, Submission, job_json
from heliograph.wire.jobs import history_json
from heliograph_periodogram import periodogram

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
MINIMAL: dict[str, Any] = {
    "id": "01M80A7T4E48Q4BWM4GG25RWR1", "queue": "q", "owner": "ada", "state": State.QUEUED, "series": 1, "seq": 1,
    "attempt": 0, "max_attempts": 3, "priority": 0, "parameters": {}, "created_at": NOW, "updated_at": NOW,
}  # fmt: skip
FULL: dict[str, Any] = MINIMAL | {
    "backend": "b", "name": "n", "group": "g", "parent": "p", "ancestors": ("r", "p"), "after": ("x", "y"),
    "waits_for": ("y",), "state": State.FAILED, "stage": "s", "progress": 0.5,
    "eta_seconds": 1.5, "message": "m", "result": [1], "error": JobError(ErrorKind.FATAL, "e", "t"),
    "artifacts": (Artifact("a", "file id", "text/plain", 3, "00"),), "inputs": ("x",), "cancel_requested": True,
    "not_before": NOW, "start_before": NOW, "timeout_seconds": 5.0, "handler": "https://example.org",
    "notify": {"told": True}, "traceparent": "00-1", "started_at": NOW, "ended_at": NOW,
}  # fmt: skip
# What of a job is not a client's business: what it may be worked on with, and what it costs to keep it.
PRIVATE = {"inputs", "notify", "traceparent", "lease", "history", "roles", "remembered", "begun_before", "secrets"}


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["minimal", "full"])
def test_a_job_is_written_as_its_model_says(values: dict[str, Any]) -> None:
    written = orjson.loads(orjson.dumps(job_json(Job(**values)), option=orjson.OPT_UTC_Z))
    assert set(written) == set(JobView.model_fields)
    view = JobView.model_validate(written)
    assert view.model_dump(mode="json") == written
    for name in values.keys() & set(JobView.model_fields) - {"error", "artifacts"}:
        value = values[name]
        assert getattr(view, name) == (list(value) if isinstance(value, tuple) else value), name


def test_every_field_of_a_job_is_shown_or_known_to_be_private() -> None:
    assert {each.name for each in fields(Job)} - set(JobView.model_fields) == PRIVATE


def test_an_artifact_does_not_tell_where_it_is_kept() -> None:
    written = job_json(Job(**FULL))
    assert set(written["artifacts"][0]) == set(ArtifactView.model_fields)
    assert "file id" not in str(written)


def test_the_links_of_a_job_lead_to_it() -> None:
    links = job_json(Job(**MINIMAL))["links"]
    own = f"/v1/jobs/{MINIMAL['id']}"
    assert links == {"self": own} | {
        name: f"{own}/{name}" for name in ("log", "artifacts", "history", "notices", "tree")
    }


def test_a_history_is_written_as_its_model_says() -> None:
    written = history_json((Change("c", 1, 1, NOW, State.QUEUED, "ada"),))
    assert HistoryPage.model_validate(written).model_dump() == written
    assert "id" not in written["items"][0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2030-01-31T12:00:00Z", NOW), ("2030-01-31T14:00:00+02:00", NOW), ("2030-01-31t07:00:00-05:00", NOW)],
)
def test_a_time_is_taken_with_its_zone_and_kept_in_utc(text: str, moment: datetime) -> None:
    taken: datetime = TypeAdapter(Moment).validate_python(text)
    assert (taken, taken.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    "value",
    ["2030-01-31T12:00:00", "2030-01-31", "now", "", "1893456000", "-1", 1893456000, 1e300, True, None, [],
     "0001-01-01T00:00:00+01:00", "9999-12-31T23:00:00-01:00", "2030-02-30T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Moment).validate_python(value)


def test_a_submission_is_small_when_it_says_little() -> None:
    submission = Submission.model_validate({"backend": "sum"})
    assert (submission.parameters, submission.max_attempts, submission.notify) == ({}, 3, True)


@pytest.mark.parametrize("example", Submission.model_json_schema()["examples"])
def test_the_examples_are_submissions_that_their_backend_takes(example: dict[str, Any]) -> None:
    submission = Submission.model_validate(example)
    assert submission.backend == periodogram.name
    taken = periodogram.parse(submission.parameters, {})
    assert taken.model_fields_set == submission.parameters.keys()
