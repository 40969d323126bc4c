"""What a backend remembers, submits and hears outside, as ``heliograph.testing`` plays it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from heliograph.backends import (
    Cancelled,
    FatalError,
    Finished,
    Gone,
    JobContext,
    Standing,
    StillRunning,
    TransientError,
    UsageError,
)
from heliograph.jobs.states import ErrorKind, State
from heliograph.testing import FakeJob, reconcile, run
from tests.backends_for_tests import good
from tests.parts.backends import Cluster, made


def test_what_is_remembered_reaches_a_later_attempt() -> None:
    def count(job: JobContext) -> int:
        job.remember(count=job.remembered.get("count", 0) + 1, at="here")
        return int(job.remembered["count"])

    first = run(made(count), remembered={"other": (1, 2)})
    assert (first.result, first.remembered) == (1, {"other": [1, 2], "count": 1, "at": "here"})
    assert run(made(count), attempt=2, remembered=first.remembered).result == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [({"x": object()}, "remembered.x: builtins.object is no JSON value"), ({"x": "é" * 33_000}, "more than 65,536")],
)
def test_what_cannot_be_remembered_is_refused(values: dict[str, Any], message: str) -> None:
    job = FakeJob(remembered={"y": 1})
    with pytest.raises(ValueError, match=message):
        job.remember(**values)
    assert job.remembered == {"y": 1}


def planned(parameters: dict[str, Any]) -> int:
    if parameters["n"] == 0:
        raise TransientError("away")
    return int(parameters["n"]) * 2


@pytest.mark.parametrize(
    ("plan", "state", "result", "kind"),
    [
        ({"x": (1, 2)}, State.DONE, {"x": [1, 2]}, None),
        (UsageError("wrong"), State.FAILED, None, ErrorKind.USAGE),
        (ValueError("wrong"), State.FAILED, None, ErrorKind.FATAL),
        (Cancelled(), State.CANCELLED, None, ErrorKind.CANCELLED),
        (State.RUNNING, State.RUNNING, None, None),
        (planned, State.DONE, 6, None),
        (good.add_slowly, State.FAILED, None, ErrorKind.USAGE),
    ],
)
def test_a_child_ends_as_planned(plan: Any, state: State, result: Any, kind: ErrorKind | None) -> None:
    job = FakeJob(children={"child": plan})
    (child,) = job.wait([job.submit("child", {"n": 3})], timeout=timedelta(0))
    assert (child.state, child.result, child.error and child.error.kind) == (state, result, kind)


def test_a_backend_among_the_children_is_run() -> None:
    def parent(job: JobContext) -> list[Any]:
        ids = [job.submit("sum", {"left": left}, name=f"from {left}") for left in (1, 2)]
        found = {child.id: child.result for child in job.wait(ids)}
        return [found[each]["total"] for each in ids] + [job.wait(ids[::-1])[0].id == ids[1]]

    outcome = run(made(parent), children={"sum": good.add})
    assert outcome.result == [2, 3, True]
    assert [(child.backend, child.parameters, child.fields) for child in outcome.submitted] == [
        ("sum", {"left": 1}, {"name": "from 1"}),
        ("sum", {"left": 2}, {"name": "from 2"}),
    ]
    talking = run(made(lambda job: job.submit("talk", {})), children={"talk": good.talk})
    assert talking.log == ""  # a child has a log of its own


def test_a_defect_of_a_child_comes_out_unless_it_is_caught() -> None:
    def parent(job: JobContext) -> Any:
        (child,) = job.wait([job.submit("complain", {"kind": "defect"})])
        return child.error and child.error.message

    with pytest.raises(RuntimeError, match="what nobody expected"):
        run(made(parent), children={"complain": good.complain})
    caught = run(made(parent), children={"complain": good.complain}, catch=True)
    assert caught.result == "RuntimeError: what nobody expected"


def test_an_asynchronous_parent_waits_in_a_thread() -> None:
    async def parent(job: JobContext) -> Any:
        ids = [await asyncio.to_thread(job.submit, "sum", {"left": 1})]
        return [child.result for child in await asyncio.to_thread(job.wait, ids)]

    assert run(made(parent), children={"sum": good.add_slowly}).result == [{"total": 2}]


def test_the_same_child_of_a_later_attempt_is_the_same_job() -> None:
    def submit(job: JobContext) -> list[str]:
        return [job.submit("child", {"n": 1}), job.submit("child", {"n": 1}), job.submit("child", {"n": job.attempt})]

    first, second = (run(made(submit), attempt=attempt, children={"child": 0}).result for attempt in (1, 2))
    assert first[:2] == second[:2]
    assert len({*first, *second}) == 4


@pytest.mark.parametrize(
    ("backend_name", "parameters", "fields", "message"),
    [
        ("other", {}, {}, r"backend: there is no backend other \(in this test's children: child\)"),
        ("child", {}, {"nmae": "x"}, "nmae: there is no such field; there are: "),
        ("child", {}, {"timeout_seconds": -1}, "timeout_seconds: Input should be greater than 0"),
        ("child", {"at": datetime}, {}, "submission.parameters.at: builtins.type is no JSON value"),
    ],
)
def test_a_submission_that_the_api_would_refuse_is_refused(
    backend_name: str, parameters: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    job = FakeJob(children={"child": 0})
    with pytest.raises(UsageError, match=message):
        job.submit(backend_name, parameters, **fields)
    assert not job.submitted


def test_what_would_wait_for_ever_is_said_to() -> None:
    job = FakeJob(children={"child": State.RUNNING}, callbacks=[{"state": "over"}])
    child = job.submit("child", {})
    with pytest.raises(RuntimeError, match="wait for ever"):
        job.wait([child])
    with pytest.raises(ValueError, match="X is none of this job's children"):
        job.wait([child, "X"])
    told = job.next_callback()
    assert told
    assert told.body == {"state": "over"}
    assert job.next_callback(timedelta(hours=1)) is None
    with pytest.raises(RuntimeError, match="wait for ever"):
        job.next_callback()


def test_a_callback_address_is_of_its_attempt() -> None:
    assert FakeJob().callback_url.startswith("https://")
    assert FakeJob().callback_url != FakeJob(attempt=2).callback_url


@pytest.mark.parametrize(
    ("state", "standing"), [("goes on", StillRunning()), ("done", Finished([1, 2])), ("gone", Gone())]
)
def test_a_backend_is_asked_what_became_of_its_work(state: str, standing: Standing) -> None:
    assert reconcile(Cluster, remembered={"state": state}) == standing


def test_what_is_no_standing_is_refused() -> None:
    with pytest.raises(TypeError, match="reconcile returned no standing: 'yes'"):
        reconcile(Cluster, {"text": "yes"}, remembered={"state": "?"})
    with pytest.raises(FatalError, match="nan is no JSON number"):
        reconcile(Cluster, remembered={"state": "nan"})
    with pytest.raises(ValueError, match="sum has no reconcile"):
        reconcile(good.add, {"left": 1})
