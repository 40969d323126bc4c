"""The rules by which a worker treats its backends: which it offers, what they see, and how much it keeps."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.backends import Cancelled
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.child.channel import Channel
from heliograph_worker.child.context import ChildContext
from heliograph_worker.child.stopping import Stopping
from heliograph_worker.environment import child_environment
from heliograph_worker.folder import Folder
from heliograph_worker.logs import CappedLog
from heliograph_worker.process import describe_end
from heliograph_worker.protocol import HEADER, Progress, ProtocolError, Run, frame, parse_from_child
from tests.backends_for_tests.good import add


def test_a_catalogue_holds_what_can_be_imported() -> None:
    catalogue = Catalogue.of(["tests.backends_for_tests.good:add", "tests.backends_for_tests.good:talk"])
    assert dict(catalogue.backends)["sum"] is add
    assert dict(catalogue.sources) == {
        "sum": "tests.backends_for_tests.good:add",
        "talk": "tests.backends_for_tests.good:talk",
    }
    assert Catalogue.of([add]) == Catalogue.of(["tests.backends_for_tests.good:add"])


def test_the_installed_backends_are_found() -> None:
    assert "periodogram" in Catalogue.load().backends


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("found = 7", "TypeError: plugin:found is no heliograph backend but int"),
        ("", "AttributeError: module 'plugin' has no attribute 'found'"),
    ],
)
def test_a_broken_plugin_is_left_out_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    (tmp_path / "plugin.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    catalogue = Catalogue.of(["plugin:found", "tests.backends_for_tests.good:add"])
    assert list(catalogue.backends) == ["sum"]
    assert dict(catalogue.broken) == {"plugin:found": reason}


def test_two_backends_of_one_name_are_both_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rival.py").write_text("from tests.backends_for_tests.good import add as other")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = Catalogue.of(["rival:other", "tests.backends_for_tests.good:add", "tests.backends_for_tests.good:talk"])
    assert list(catalogue.backends) == ["talk"]
    reason = "the name sum is claimed by rival:other and tests.backends_for_tests.good:add"
    assert dict(catalogue.broken) == {"rival:other": reason, "tests.backends_for_tests.good:add": reason}


def test_a_backend_announced_twice_at_one_place_is_one() -> None:
    assert list(Catalogue.of(["tests.backends_for_tests.good:add"] * 2).backends) == ["sum"]


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("PATH", "/bin", True),
        ("PYTHONPATH", "/x", True),
        ("LANG", "C.UTF-8", True),
        ("HTTPS_PROXY", "http://proxy:3128", True),
        ("KEYBOARD", "de", True),
        ("PWD", "/work", True),
        ("OLDPWD", "/work", True),
        ("PATTERN", "x", True),
        ("GH_PAT", "x", False),
        ("AZURE_DEVOPS_EXT_PAT", "x", False),
        ("MYSQL_PWD", "x", False),
        ("ROOT_PASSWD", "x", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/x.json", False),
        ("NPM_CONFIG__AUTH", "x", False),
        ("CACHE", "redis://:word@cache/0", False),
        ("HELIOGRAPH_PUBLIC_URL", "x", False),
        ("heliograph_x", "x", False),
        ("AWS_SECRET_ACCESS_KEY", "x", False),
        ("GITHUB_TOKEN", "x", False),
        ("PGPASSWORD", "x", False),
        ("SMTP_PASS", "x", False),
        ("ENCRYPTION_KEY", "x", False),
        ("MONGODB_URL", "mongodb://user:word@db/x", False),
        ("HTTPS_PROXY", "http://user:word@proxy:3128", False),
    ],
)
def test_a_child_gets_no_secret(name: str, value: str, passes: bool) -> None:
    assert child_environment({name: value}) == ({name: value} if passes else {})
    assert child_environment({name: value}, frozenset({name})) == {name: value}


@pytest.mark.parametrize("name", ["HELIOGRAPH_SEAL_KEYS", "HELIOGRAPH_SEAL_KEYS_FILE", "HELIOGRAPH_IDENTITY_KEY"])
def test_no_child_gets_a_key_of_the_services(name: str) -> None:
    assert child_environment({name: "x", "PLAIN": "x"}, frozenset({name, "PLAIN"})) == {"PLAIN": "x"}


def take_all(log: CappedLog) -> bytes:
    return b"".join(iter(lambda: log.take(7), b""))


@pytest.mark.parametrize(
    ("parts", "at_once", "later"),
    [
        ([b""], b"", b""),
        ([b"0123"], b"0123", b""),
        ([b"0123456789"], b"0123456789", b""),
        ([b"0123456789", b"abc"], b"0123456789", b"abc"),
        ([b"0123456789abc"], b"0123456789", b"abc"),
        ([b"0123456789abcdE"], b"0123456789", b"\n[1 bytes left out here]\nbcdE"),
        ([b"0123456789", *[b"x"] * 1000, b"LAST"], b"0123456789", b"\n[1,000 bytes left out here]\nLAST"),
    ],
)
def test_a_log_keeps_its_head_and_its_tail(parts: list[bytes], at_once: bytes, later: bytes) -> None:
    log = CappedLog(head=10, tail=4)
    for part in parts:
        log.add(part)
    assert take_all(log) == at_once
    log.close()
    assert take_all(log) == later


@pytest.fixture
def stopping() -> Iterator[Stopping]:
    before = signal.getsignal(signal.SIGTERM)
    stopping = Stopping()
    stopping.install()
    stopping.arm()
    yield stopping
    signal.signal(signal.SIGTERM, before)


def test_a_wish_to_stop_is_raised_once(stopping: Stopping) -> None:
    with pytest.raises(Cancelled):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stopping.asked


def test_a_wish_to_stop_waits_until_a_message_is_sent(stopping: Stopping) -> None:
    sent = []

    def send() -> None:
        with stopping:
            os.kill(os.getpid(), signal.SIGTERM)
            sent.append("all")

    with pytest.raises(Cancelled):
        send()
    assert sent == ["all"]


def test_another_threads_message_does_not_hold_a_wish_back(stopping: Stopping) -> None:
    entered, leave = threading.Event(), threading.Event()

    def send() -> None:
        with stopping:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=send)
    thread.start()
    entered.wait()
    with pytest.raises(Cancelled):
        os.kill(os.getpid(), signal.SIGTERM)
    leave.set()
    thread.join()


def test_between_jobs_a_wish_to_stop_means_nothing(stopping: Stopping) -> None:
    stopping.disarm()
    os.kill(os.getpid(), signal.SIGTERM)
    assert not stopping.asked


def test_a_wish_that_came_before_the_way_to_cancel_is_not_lost(stopping: Stopping) -> None:
    with pytest.raises(Cancelled):
        os.kill(os.getpid(), signal.SIGTERM)
    cancelled = threading.Event()
    stopping.cancel_by(cancelled.set)
    assert cancelled.is_set()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"type":"unknown"}',
        b'{"type":"progress","fraction":7}',
        b'{"type":"progress","fraction":NaN}',
        b'{"type":"progress","eta_seconds":-1}',
        b'{"type":"returned","result":"1"}',
        b'{"type":"ready","more":1}',
        b"\xff",
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_from_child(body)


def test_a_message_survives_its_journey() -> None:
    message = Progress(fraction=0.5, stage="é")
    data = frame(message)
    assert HEADER.unpack(data[:4]) == (len(data) - 4,)
    assert parse_from_child(data[4:]) == message


def test_a_loop_that_tells_of_each_turn_is_thinned_out(tmp_path: Path) -> None:
    run = Run(
        source="", backend="", job="job", attempt=1, parameters="", inputs={}, deadline=None, folder=str(tmp_path),
        remembered="{}", asks_first=False, memory=None,
    )  # fmt: skip
    worker, child = socket.socketpair()
    with worker, child:
        context = ChildContext(run, Folder(tmp_path), Channel(child, Stopping()), Stopping())
        for _ in range(1_000):
            context.progress(0.5)
        sent = worker.recv(1_000_000).count(b'"progress"')
    assert 100 <= sent < 200


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "by itself, with exit code 0"),
        (-11, "by signal 11 (SIGSEGV)"),
        (-9, "by signal 9 (SIGKILL); the system does that when memory runs out"),
        (-35, "by signal 35 (unnamed)"),
    ],
)
def test_an_end_is_said_in_words(code: int, words: str) -> None:
    assert describe_end(code) == words
