"""A remote data server that goes on working: callbacks, questions, stopping, and what a lost worker left behind."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from heliograph.backends import FatalError, Finished, Gone, StillRunning, UsageError
from heliograph.testing import FakeJob, reconcile, run
from tests.parts.data_server import (
    PARAMETERS,
    DataServer,
    Reply,
    ask,
    backend_of,
    data_server,
    failure,
)

ACCEPTED = Reply(202, {"status_url": "/jobs/7"})


class NoKeys(FakeJob):
    """A job whose worker cannot sign a callback address."""

    @property
    def callback_url(self) -> str:
        raise FatalError("this worker has no key to sign with")


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as served:
        yield served


def test_callbacks_tell_of_progress_and_of_the_end(server: DataServer) -> None:
    callbacks: list[dict[str, Any]] = [
        {"state": "running", "progress": 0.25, "stage": "folding", "node": "n07", "message": "a quarter"},
        {"action": "progress", "progress": "50", "progress_max": "100", "eta_seconds": 90},
        {"state": "done", "result": {"flux": 2}},
    ]
    done = ask(server, Reply(202), callbacks)
    assert done.result == {"flux": 2}
    assert [each.fraction for each in done.progress] == [0.25, 0.5]
    first, second = done.progress
    assert (first.stage, first.message, second.eta_seconds) == ("folding on n07", "a quarter", 90)
    assert server.methods() == ["POST /run"], "nothing was given to ask at"


@pytest.mark.parametrize(
    ("said", "kind"),
    [({}, "fatal"), ({"kind": "usage"}, "usage"), ({"kind": "transient"}, "transient"), ({"kind": "x"}, "fatal")],
)
def test_a_callback_tells_of_a_failure(server: DataServer, said: dict[str, str], kind: str) -> None:
    assert failure(ask(server, Reply(202), [{"state": "failed", "message": "no such field", **said}])) == (
        kind, "no such field",
    )  # fmt: skip


@pytest.mark.parametrize("where", [{"Location": "/jobs/7"}, None])
def test_where_to_ask_comes_in_a_header_or_in_the_body(server: DataServer, where: dict[str, str] | None) -> None:
    server.plans["/jobs/7"] = [
        Reply(200, {"state": "queued"}),
        Reply(200, {"state": "working", "progress": 0.5, "stage": "folding"}),
        Reply(200, {"state": "Completed", "result": [1, 2]}),
    ]
    done = ask(server, Reply(202, None, where) if where else ACCEPTED)
    assert done.result == [1, 2]
    assert [(each.fraction, each.stage) for each in done.progress] == [(0.5, "folding")]
    assert done.remembered["status_url"] == f"{server.url}/jobs/7"
    assert server.methods() == ["POST /run"] + 3 * ["GET /jobs/7"]


def test_a_worker_without_keys_asks(server: DataServer) -> None:
    server.plans |= {"/run": ACCEPTED, "/jobs/7": [Reply(200, {"state": "run"}), Reply(200, {"state": "done"})]}
    backend = backend_of(server)
    assert backend.function(backend.parse(PARAMETERS, {}), NoKeys()) is None
    assert server.asked[0].body["callback"] is None
    server.plans["/run"] = Reply(202)
    with pytest.raises(FatalError, match="HELIOGRAPH_LINK_KEYS"):
        backend.function(backend.parse(PARAMETERS, {}), NoKeys())


def test_other_servers_use_other_words(server: DataServer) -> None:
    poll = {
        "url_key": "job.href", "state_key": "job.phase", "result_key": "job.output", "done": ["COMPLETED"],
        "failed": ["ERROR"],
    }  # fmt: skip
    server.plans["/async/1"] = [
        Reply(200, {"job": {"phase": "done"}}),
        Reply(200, {"job": {"phase": "completed", "output": {"n": 3}}}),
    ]
    assert ask(server, Reply(202, {"job": {"href": "async/1"}}), poll=poll).result == {"n": 3}
    server.plans["/async/1"] = Reply(200, {"job": {"phase": "ERROR"}, "message": "no data"})
    assert failure(ask(server, Reply(202, {"job": {"href": "async/1"}}), poll=poll)) == ("fatal", "no data")


def test_a_server_that_is_away_for_a_while_is_asked_again(server: DataServer) -> None:
    server.plans["/jobs/7"] = [Reply(503), Reply(500), Reply(200, {"state": "done", "result": 1})]
    done = ask(server, ACCEPTED)
    assert done.result == 1
    assert done.log.count("503 Service Unavailable; asked again every 0.02 s") == 1
    assert "500" not in done.log


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404), "answered 404"),
        (Reply(401), "answered 401"),
        (Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}), "no JSON"),
        (Reply(200, ["done"]), "no text 'state'"),
        (Reply(200, {"state": 3}), "no text 'state'"),
        (Reply(200, b"x" * 1_000_001), "more than 1,000,000 bytes"),
    ],
)
def test_a_status_that_says_nothing_ends_it(server: DataServer, reply: Reply, words: str) -> None:
    server.plans["/jobs/7"] = reply
    kind, message = failure(ask(server, ACCEPTED))
    assert kind == "fatal"
    assert words in message


def test_senseless_progress_is_no_reason_to_give_up(server: DataServer) -> None:
    server.plans["/jobs/7"] = [
        Reply(200, {"state": "running", "progress": 700, "stage": ["x"]}),
        Reply(200, {"state": "done", "result": 1, "progress": "all"}),
    ]
    assert ask(server, ACCEPTED).result == 1


def test_a_result_is_fetched_from_its_address(server: DataServer) -> None:
    server.plans["/files/crab%20nebula.fits"] = Reply(200, b"SIMPLE", {"Content-Type": "image/fits"})
    done = ask(server, Reply(202), [{"state": "done", "result_url": "/files/crab%20nebula.fits"}])
    assert done.result == {"artifact": "crab nebula.fits", "bytes": 6}
    assert done.artifacts["crab nebula.fits"].content == b"SIMPLE"
    both = ask(server, Reply(202), [{"state": "done", "result_url": "/files/crab%20nebula.fits", "result": 5}])
    assert both.result == 5
    assert both.artifacts.keys() == {"crab nebula.fits"}


def test_a_result_that_is_too_large_is_not_kept(server: DataServer) -> None:
    server.plans["/big"] = Reply(200, b"x" * 5000)
    done = ask(server, Reply(202), [{"state": "done", "result_url": "/big"}], largest_answer=4999)
    assert failure(done)[1] == "127.0.0.1 answered with more than 4,999 bytes"


def test_a_callback_that_says_done_alone_sends_to_the_status(server: DataServer) -> None:
    server.plans["/jobs/7"] = Reply(200, {"state": "done", "result": "from the status"})
    assert ask(server, ACCEPTED, [{"action": "done"}]).result == "from the status"
    server.plans["/jobs/7"] = Reply(404)
    assert ask(server, ACCEPTED, [{"action": "done"}]).result is None


@pytest.mark.parametrize(
    ("accepted", "told"),
    [
        ({"status_url": "/jobs/7"}, ["DELETE /jobs/7"]),
        ({"status_url": "/jobs/7", "cancel_url": "/jobs/7/stop"}, ["POST /jobs/7/stop"]),
        ({}, []),
    ],
)
def test_a_cancelled_job_is_stopped_there(server: DataServer, accepted: dict[str, str], told: list[str]) -> None:
    server.plans |= {"/run": Reply(202, accepted), "/jobs/7": Reply(200, {"state": "running", "progress": 0.5})}
    server.plans["/jobs/7/stop"] = Reply(204)
    done = run(backend_of(server), PARAMETERS, callbacks=[{"progress": 0.1}], cancel_when=lambda _: True, echo=False)
    assert failure(done)[0] == "cancelled"
    assert [each for each in server.methods() if each not in {"POST /run", "GET /jobs/7"}] == told
    assert ("was told to stop" in done.log) == bool(told)


def test_a_server_that_does_not_answer_holds_no_cancelled_job(server: DataServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        keys = {"allowed_hosts": [f"127.0.0.1:{port}"], "allow_private": True}
        server.plans["/run"] = Reply(202, {"cancel_url": f"http://127.0.0.1:{port}/"})
        began = time.monotonic()
        done = run(
            backend_of(server, **keys),
            PARAMETERS,
            callbacks=[{"progress": 0.1}],
            cancel_when=lambda _: True,
            echo=False,
        )
        assert time.monotonic() - began < 40  # it would wait for ever
    assert failure(done)[0] == "cancelled"
    assert "could not be told to stop" in done.log


def test_what_an_earlier_attempt_began_is_asked_for(server: DataServer) -> None:
    backend = backend_of(server, poll_seconds=7)
    remembered = {"status_url": f"{server.url}/jobs/7"}
    server.plans["/jobs/7"] = [
        Reply(200, {"state": "running"}),
        Reply(503),
        Reply(200, {"state": "done", "result": [3]}),
        Reply(410),
        Reply(200, {"state": "failed", "message": "no data", "kind": "usage"}),
    ]
    standings = [reconcile(backend, PARAMETERS, remembered=remembered) for _ in range(4)]
    again = StillRunning(timedelta(seconds=7))
    assert standings == [again, again, Finished([3]), Gone()]
    with pytest.raises(UsageError, match="no data"):
        reconcile(backend, PARAMETERS, remembered=remembered)
    assert reconcile(backend, PARAMETERS, remembered={}) == Gone()


def test_what_was_remembered_is_no_way_around_the_allowed_hosts(server: DataServer) -> None:
    with pytest.raises(FatalError, match="allowed_hosts"):
        reconcile(backend_of(server), PARAMETERS, remembered={"status_url": "http://archive.example.org/"})


def test_a_new_beginning_forgets_where_the_last_one_was_asked(server: DataServer) -> None:
    server.plans["/run"] = Reply(503)
    done = run(backend_of(server), PARAMETERS, attempt=2, remembered={"status_url": f"{server.url}/old"}, echo=False)
    assert failure(done)[0] == "transient"
    assert done.remembered["status_url"] is None
    assert server.asked[0].body["attempt"] == 2
