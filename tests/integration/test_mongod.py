"""The embedded mongod: it starts fast, keeps its data through everything, and leaves nothing behind."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from heliograph_standalone.mongod import Mongod, MongodError, MongodMissingPartError, find_mongod
from tests.parts.freezing import freeze

try:
    find_mongod()
except MongodError as error:
    pytest.skip(str(error), allow_module_level=True)

# A program that starts a mongod, says its process and waits; with "orphan" mongod does not die with it.
OWNER = """
import sys, time
from pathlib import Path
from heliograph_standalone import mongod
if sys.argv[2:] == ["orphan"]:
    mongod._BECOME_MONGOD = "import os, sys; os.execv(sys.argv[2], sys.argv[2:])"
owned = mongod.Mongod(Path(sys.argv[1]))
owned.start()
print(owned.pid, owned.url, flush=True)
time.sleep(600)
"""


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[Mongod]:
    with Mongod(tmp_path / "mongo") as running:
        yield running


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int, str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> tuple[subprocess.Popen[str], int, str]:
        command = [sys.executable, "-c", OWNER, str(tmp_path / "mongo"), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        pid, url = process.stdout.readline().split()
        return process, int(pid), url

    yield start
    for process in started:
        process.kill()
        process.communicate()


def insert(url: str, value: str) -> None:
    with MongoClient[dict[str, Any]](url, w="majority", journal=True, serverSelectionTimeoutMS=30_000) as client:
        client.test.things.insert_one({"_id": value})


def values(url: str) -> list[str]:
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=30_000) as client:
        return sorted(thing["_id"] for thing in client.test.things.find())


def runs(pid: int) -> bool:
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until_it_stands_still(mongod: Mongod) -> None:
    assert mongod.pid is not None
    freeze(mongod.pid)  # once more, and wait for it: on a busy machine it goes on for a while


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_it_takes_majority_writes_as_soon_as_start_returns(mongod: Mongod) -> None:
    insert(mongod.url, "first")
    assert values(mongod.url) == ["first"]


def test_it_is_a_replica_set_of_one_on_loopback_alone(mongod: Mongod) -> None:
    with MongoClient[dict[str, Any]](mongod.url) as client:
        hello = client.admin.command("hello")
    assert hello["setName"] == "rs0"
    assert mongod.url.startswith(f"mongodb://{hello['hosts'][0]}/")
    assert hello["hosts"] == [hello["me"]]
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    port = f"{int(hello['me'].rpartition(':')[2]):04X}"
    local = {line.split()[1] for line in listening.splitlines() if len(line.split()) > 3 and line.split()[3] == "0A"}
    assert {address for address in local if address.endswith(f":{port}")} == {f"0100007F:{port}"}


def test_data_and_address_survive_a_restart_and_a_power_cut(mongod: Mongod) -> None:
    url = mongod.url
    insert(url, "before the restart")
    mongod.restart()
    insert(mongod.url, "before the power cut")
    mongod.kill()
    assert mongod.pid is None
    mongod.start()
    assert mongod.url == url
    assert values(url) == ["before the power cut", "before the restart"]


def test_data_made_under_another_port_are_taken_over(tmp_path: Path) -> None:
    with Mongod(tmp_path) as first:
        insert(first.url, "kept")
    with Mongod(tmp_path) as second:
        assert second.url != first.url
        insert(second.url, "and written to")
        assert values(second.url) == ["and written to", "kept"]


def test_a_suspended_one_holds_connections_and_goes_on_when_resumed(mongod: Mongod) -> None:
    with MongoClient[dict[str, Any]](mongod.url) as client:
        client.admin.command("ping")
        mongod.suspend()
        until_it_stands_still(mongod)
        newcomer = MongoClient[dict[str, Any]](mongod.url, serverSelectionTimeoutMS=300)
        with newcomer, pytest.raises(ServerSelectionTimeoutError):
            newcomer.admin.command("ping")
        mongod.resume()
        assert client.admin.command("ping")["ok"] == 1


def test_a_suspended_one_stops_cleanly(mongod: Mongod) -> None:
    mongod.suspend()
    mongod.stop()
    assert mongod.log.read_text().rstrip().endswith("}")
    assert '"exitCode":0' in mongod.log.read_text()


def test_ctrl_c_in_the_terminal_does_not_reach_it(mongod: Mongod) -> None:
    assert mongod.pid is not None
    assert os.getpgid(mongod.pid) == mongod.pid != os.getpgrp()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_it_dies_with_its_owner(owner: Callable[..., tuple[subprocess.Popen[str], int, str]]) -> None:
    process, pid, _ = owner()
    process.kill()
    wait_for_end(pid)


def test_it_lives_on_when_the_thread_that_started_it_ends(tmp_path: Path) -> None:
    mongod = Mongod(tmp_path)
    starter = threading.Thread(target=mongod.start)
    starter.start()
    starter.join()
    with mongod:
        insert(mongod.url, "alive")
        time.sleep(0.2)  # nothing tells when a signal that must not come has not come
        assert values(mongod.url) == ["alive"]


def test_one_that_outlived_its_owner_is_replaced(
    tmp_path: Path, owner: Callable[..., tuple[subprocess.Popen[str], int, str]]
) -> None:
    process, orphan, url = owner("orphan")
    insert(url, "from the orphan")
    process.kill()
    process.wait()
    assert runs(orphan)
    with Mongod(tmp_path / "mongo") as mongod:
        wait_for_end(orphan)
        assert values(mongod.url) == ["from the orphan"]


def test_the_folder_of_a_running_heliograph_is_refused(tmp_path: Path, mongod: Mongod) -> None:
    with pytest.raises(MongodError, match="Another running Heliograph uses the folder"):
        Mongod(mongod.path).start()
    insert(mongod.url, "unharmed")


def test_a_port_in_use_is_refused_by_name(tmp_path: Path, mongod: Mongod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MongodError, match=f"port {port} is in use"):
            Mongod(tmp_path / "other", port=port).start()


def test_another_mongod_at_the_port_is_not_taken_for_ours(tmp_path: Path, mongod: Mongod) -> None:
    port = int(mongod.url.rpartition(":")[2].split("/")[0])
    with pytest.raises(MongodError, match=f"port {port} is in use"):
        Mongod(tmp_path / "other", port=port).start()


def test_a_missing_library_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    binary = tmp_path / "mongod"
    binary.write_bytes(find_mongod().read_bytes().replace(b"libcurl.so.4\0", b"libcurl.so.9\0"))
    binary.chmod(0o755)
    with pytest.raises(MongodMissingPartError, match=r"libcurl.so.9: run `sudo apt-get install -y libcurl4`"):
        Mongod(tmp_path / "mongo", binary=binary).start()
    binary.unlink()  # 134 MB


def test_unreadable_data_are_named_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "WiredTiger.turtle").write_text("not a turtle")
    with pytest.raises(MongodError, match=r"MongoDB ended with code \d+: .*; see .*mongod.log"):
        Mongod(tmp_path).start()


def test_without_any_mongod_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MongodError, match="HELIOGRAPH_MONGODB_URL"):
        find_mongod()


def test_a_dropped_run_bit_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "fiftyone" / "db" / "bin" / "mongod"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_mongod() == binary
    assert os.access(binary, os.X_OK)
