"""The backend that has its work done by a remote data server: answers at once, refusals, the operator's table."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from heliograph.testing import FakeJob, run
from tests.parts.data_server import (
    PARAMETERS,
    Asked,
    DataServer,
    Reply,
    ask,
    backend_of,
    data_server,
    failure,
)


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as served:
        yield served


def test_an_answer_at_once_is_the_result(server: DataServer) -> None:
    assert ask(server, Reply(200, {"flux": 1.5, "unit": "mCrab"})).result == {"flux": 1.5, "unit": "mCrab"}
    asked = server.asked[0]
    assert asked.method == "POST"
    assert asked.body == {
        "job": FakeJob().id, "attempt": 1, "parameters": PARAMETERS, "callback": FakeJob().callback_url,
    }  # fmt: skip
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert server.methods() == ["POST /run"]


@pytest.mark.parametrize(
    ("reply", "result"),
    [(Reply(201, [1, 2]), [1, 2]), (Reply(204), None), (Reply(200, b'"x"', {"Content-Type": "text/json+json"}), "x")],
)
def test_any_success_is_one(server: DataServer, reply: Reply, result: Any) -> None:
    assert ask(server, reply).result == result


@pytest.mark.parametrize(
    ("headers", "name", "media_type"),
    [
        ({"Content-Type": "image/fits", "Content-Disposition": "inline; filename=a.fits"}, "a.fits", "image/fits"),
        ({"Content-Type": "text/csv; charset=utf-8"}, "result", "text/csv"),
        ({"Content-Disposition": 'attachment; filename="../../etc/passwd"'}, "passwd", "application/octet-stream"),
        ({"Content-Disposition": "inline; filename*=UTF-8''%C3%A9toile.png"}, "étoile.png", "application/octet-stream"),
        ({"Content-Disposition": 'attachment; filename=".."'}, "result", "application/octet-stream"),
        ({"Content-Disposition": ";;=\"'filename"}, "result", "application/octet-stream"),
    ],
)  # fmt: skip
def test_what_is_no_json_becomes_an_artifact(
    server: DataServer, headers: dict[str, str], name: str, media_type: str
) -> None:
    done = ask(server, Reply(200, b"\x00\x01" * 1000, headers))
    assert done.result == {"artifact": name, "bytes": 2000}
    assert (done.artifacts[name].content, done.artifacts[name].media_type) == (b"\x00\x01" * 1000, media_type)


def test_credentials_and_headers_go_along(server: DataServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTRA_TOKEN", "s3cret-of-the-archive")
    keys: dict[str, Any] = {
        "token_variable": "SPECTRA_TOKEN",
        "headers": {"X-Site": "ohp", "user-agent": "us"},
        "method": "PUT",
    }
    assert ask(server, Reply(200, 1), **keys).result == 1
    headers = server.asked[0].headers
    assert (headers["authorization"], headers["x-site"], headers["user-agent"]) == (
        "Bearer s3cret-of-the-archive", "ohp", "us",
    )  # fmt: skip
    assert server.asked[0].method == "PUT"


def test_a_variable_that_jobs_do_not_have_is_told(server: DataServer) -> None:
    kind, message = failure(ask(server, Reply(200, 1), token_variable="NO_SUCH_VARIABLE"))
    assert kind == "fatal"
    assert "NO_SUCH_VARIABLE" in message
    assert "HELIOGRAPH_KEEP_VARIABLES" in message
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "usage"), (413, "usage"), (422, "usage"),
        (401, "fatal"), (403, "fatal"), (404, "fatal"), (405, "fatal"), (410, "fatal"), (304, "fatal"),
        (408, "transient"), (429, "transient"), (500, "transient"), (502, "transient"), (503, "transient"),
    ],
)  # fmt: skip
def test_a_refusal_says_whether_to_try_again(server: DataServer, status: int, kind: str) -> None:
    assert failure(ask(server, Reply(status)))[0] == kind


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(422, {"detail": "no source of this name"}), "127.0.0.1 answered 422 Unprocessable Entity: no source of"),
        (Reply(400, {"error": {"code": 17}}), 'Bad Request: {"code": 17}'),
        (Reply(400, b"two\nlines", {"Content-Type": "text/plain"}), "Bad Request: two lines"),
        (Reply(500, b"<html>oh</html>", {"Content-Type": "text/html"}), "500 Internal Server Error"),
        (Reply(500, b'{"detail": ', {"Content-Type": "application/json"}), "500 Internal Server Error"),
        (Reply(400, {"detail": "x" * 100_000}), "400 Bad Request"),
        (Reply(503, None, {"Retry-After": "120"}), "503 Service Unavailable: try again after 120 s"),
        (Reply(499, None), "499"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(server: DataServer, reply: Reply, words: str) -> None:
    message = failure(ask(server, reply))[1]
    assert words in message
    assert len(message) < 600
    assert "<html>" not in message


def test_what_a_server_repeats_is_not_shown_where_it_is_secret(
    server: DataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPECTRA_TOKEN", "s3cret-of-the-archive")

    def repeats(asked: Asked) -> Reply:
        return Reply(422, {"detail": f"{asked.headers['authorization']} may not: {asked.body['callback']}"})

    message = failure(ask(server, repeats, token_variable="SPECTRA_TOKEN"))[1]
    assert "may not" in message
    assert "s3cret" not in message
    assert FakeJob().callback_url not in message


def test_nobody_listens(server: DataServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert failure(ask(server, url=f"http://127.0.0.1:{port}/"))[0] == "transient"


def test_a_name_that_nobody_knows(server: DataServer) -> None:
    kind, message = failure(ask(server, url="http://archive.invalid/"))
    assert kind == "transient"
    assert "archive.invalid cannot be found" in message


def test_silence(server: DataServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        kind, message = failure(ask(server, url=f"http://127.0.0.1:{mute.getsockname()[1]}/", read_seconds=0.2))
    assert kind == "transient"
    assert "did not answer in time" in message


@pytest.mark.parametrize("said", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
def test_what_is_no_http(server: DataServer, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=speak)
        thread.start()
        kind, _ = failure(ask(server, url=f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()
    assert kind == "transient"


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"{", JSON),
        Reply(200, b"", JSON),
        Reply(200, b"\xff\xfe\xff", JSON),
        Reply(200, b"[" * 100_000 + b"]" * 100_000, JSON),
        Reply(200, b'{"flux": NaN}', JSON),
        Reply(200, b'"\\ud800"', JSON),
        Reply(200, b'"' + b"x" * 1_000_001 + b'"', JSON),
        Reply(200, gzip.compress(b"1"), {**JSON, "Content-Encoding": "gzip"}),
        Reply(200, gzip.compress(b"\0" * 10_000_000), {"Content-Encoding": "gzip"}),
    ],
    ids=["half", "empty", "no text", "deep", "NaN", "half a pair", "huge", "packed", "a bomb"],
)
def test_garbage_is_a_clean_failure(server: DataServer, reply: Reply) -> None:
    kind, message = failure(ask(server, reply))
    assert kind == "fatal"
    assert "Traceback" not in message


def test_a_huge_file_is_refused_as_it_comes(server: DataServer) -> None:
    done = ask(server, Reply(200, b"x" * 3_000_000), largest_answer="2 MB")
    assert failure(done) == ("fatal", "127.0.0.1 answered with more than 2,000,000 bytes")
    assert not done.artifacts


SCHEMA = {
    "type": "object", "properties": {"source": {"type": "string", "maxLength": 10}, "band": {"$ref": "#/$defs/band"}},
    "required": ["source"], "$defs": {"band": {"type": "array", "items": {"type": "number"}}},
}  # fmt: skip


def test_parameters_are_described_and_judged(server: DataServer, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    for keys in ({"parameters": SCHEMA}, {"parameters_file": str(tmp_path / "schema.json")}):
        backend = backend_of(server, **keys)
        assert backend.schema() == SCHEMA
        server.plans["/run"] = Reply(200, 1)
        assert run(backend, PARAMETERS, echo=False).result == 1
        kind, message = failure(run(backend, {"source": "a name that is too long"}, echo=False))
        assert kind == "usage"
        assert "source" in message
    assert len(server.asked) == 2


def test_without_a_schema_any_object_goes(server: DataServer) -> None:
    backend = backend_of(server)
    assert backend.schema()["type"] == "object"
    with pytest.raises(ValidationError):
        backend.parse(["no object"], {})


def test_a_table_says_what_every_table_says(server: DataServer) -> None:
    backend = backend_of(
        server, title="Spectra", version="2.1", timeout=60, roles=["member"], limits={"per_owner": 2}, retry="off"
    )
    assert (backend.name, backend.title, backend.version) == ("spectra", "Spectra", "2.1")
    assert (backend.timeout, backend.roles, backend.limits.per_owner) == (timedelta(minutes=1), ("member",), 2)
    assert not backend.retry.kinds
    assert backend.description == "Done by the data server at 127.0.0.1."
    assert backend.reconcile


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "ftp://archive.example.org"}, "begins with http"),
        ({"url": "http://"}, "names a host"),
        ({"url": "https://ada:word@archive.example.org"}, "token_variable"),
        ({"headers": {"Host": "x"}}, "no header"),
        ({"headers": {"X": "a\r\nY: b"}}, "characters"),
        ({"allowed_hosts": ["http://archive.example.org"]}, "allowed_hosts"),
        ({"allowed_hosts": ["*"]}, "allowed_hosts"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"poll": {"done": ["over"], "failed": ["Over"]}}, "both"),
        ({"largest_answer": "much"}, "number of bytes"),
        ({"parameters": {"type": 3}}, "JSON Schema"),
        ({"parameters": {"$ref": "http://127.0.0.1:1/schema"}}, "JSON Schema"),
        ({"parameters": {"properties": {"table": {"type": "string", "format": "heliograph-file"}}}}, "files"),
        ({"parameters_file": "/nowhere/schema.json"}, "cannot be read"),
        ({"parameters": {}, "parameters_file": "/nowhere/schema.json"}, "both"),
        ({"wait": 3}, "wait"),
    ],
)
def test_a_wrong_table_is_told(server: DataServer, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        backend_of(server, **keys)
