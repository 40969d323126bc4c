"""The standalone as a newcomer meets it: the demo ends by itself, and what `up` keeps survives a kill."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from heliograph.client import Client
from tests.parts.ports import free_port

SECONDS = 100
MARK = "MARK_OF_A_TEST"


def run(*arguments: str, home: Path, **variables: str) -> "subprocess.Popen[str]":
    # Its folders are given as relative ones: what is relative must hold wherever a job's working folder is.
    return subprocess.Popen(
        [sys.executable, "-m", "heliograph_standalone", *arguments],
        cwd=home.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "COLUMNS": "110", MARK: str(home), **variables},
    )  # fmt: skip


def left_behind(home: Path) -> list[str]:
    """Return the processes that carry the mark of this home: the standalone's own, its MongoDB's, its jobs'."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def eventually_nothing_left(home: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while left := left_behind(home):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@contextmanager
def up(home: Path, port: int) -> Iterator[tuple["subprocess.Popen[str]", Client]]:
    """Run `up` until the block ends; yields it with a client that holds the token it printed."""
    process = run("up", "--port", str(port), "--home", home.name, home=home)
    try:
        assert process.stdout
        printed = ""
        while "stop" not in printed:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            printed += line
        token = re.search(r"HELIOGRAPH_TOKEN=(\S+)", printed)
        assert token
        with Client(f"http://127.0.0.1:{port}", token[1]) as client:
            wait_until_served(client)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_served(client: Client) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if any(backend.workers for backend in client.backends()):
                return
        except Exception:  # noqa: BLE001 - it is still starting, in whatever way that shows
            assert time.monotonic() < deadline
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def port() -> int:
    return free_port()


def test_the_demo_shows_the_whole_chain_and_ends_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    (home / "thesis").mkdir(parents=True)
    process = run("demo", "--results", home.name, home=home)
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output + errors
    assert errors == ""
    summary = json.loads(output.splitlines()[-1])
    assert set(summary) == {"job", "state", "peak_period_years", "artifacts", "mails", "seconds"}
    assert (summary["state"], summary["mails"]) == ("done", 2)
    assert summary["peak_period_years"] == pytest.approx(11, abs=0.5)
    assert summary["artifacts"] == ["periodogram.png", "spectrum.csv"]
    for words in ("what came of it", "Subject: [Heliograph] done", "the ledger of notices", "250 ", "100 %"):
        assert words in output
    assert (home / "periodogram.png").read_bytes().startswith(b"\x89PNG")
    made = {"periodogram.png", "spectrum.csv", "mail-1.eml", "mail-2.eml"}
    assert {path.name for path in home.iterdir()} == made | {"thesis"}  # it takes away nothing that was there
    eventually_nothing_left(home)


def test_what_up_keeps_survives_a_kill_and_a_mongod_left_behind(tmp_path: Path, port: int) -> None:
    home = tmp_path / "home"
    with up(home, port) as (process, client):
        job = client.wait(client.submit("periodogram", {}, name="kept").id, seconds=SECONDS)
        marked = " ".join(left_behind(home))
        assert "mongod" in marked
        assert "heliograph_worker.child" in marked
        assert job.state == "done", job.error
        process.kill()
        process.wait(SECONDS)
    with up(home, port) as (process, client):
        assert [each.id for each in client.jobs()] == [job.id]
        assert client.job(job.id).result == job.result
        assert client.download(job.id, "periodogram.png", tmp_path / "plot.png").stat().st_size > 10_000
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    eventually_nothing_left(home)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HELIOGRAPH_CONTACTS_FILE", "/nope", "/nope"),
        ("HELIOGRAPH_INCIDENTS_TO", "ops@example.org", "ops@example.org is not a channel and a recipient"),
        ("HELIOGRAPH_SEAL_KEYS_FILE", "/nope", "names /nope, which cannot be read"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(tmp_path: Path, port: int, name: str, value: str, words: str) -> None:
    process = run("up", "--port", str(port), "--home", "home", home=tmp_path / "home", **{name: value})
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert "heliograph cannot start:\n  HELIOGRAPH_" in errors
    assert words in errors
    assert "Traceback" not in errors


def not_counting() -> list[str]:
    """Return the variables of which the README says that they do not count."""
    about = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").partition("do not count")[2]
    return [f"HELIOGRAPH_{name}" for name in re.findall(r"`([A-Z_]+)`", about.partition("each with")[0])]


def test_it_names_the_settings_that_do_not_count_and_its_api_knows_its_workers_at_once(
    tmp_path: Path, port: int
) -> None:
    home = tmp_path / "home"
    for _ in range(2):  # the second time the api has backends of which it knows no workers, until it looks again
        process = run(
            "up", "--port", str(port), "--home", home.name, home=home,
            HELIOGRAPH_SITE_NAME="CTA North", HELIOGRAPH_MAIL_FROM="cta@example.org", HELIOGRAPH_SITENAME="CTA South",
            **dict.fromkeys(not_counting(), "of no effect"),
        )  # fmt: skip
        try:
            assert process.stdout
            printed = ""
            while "stop" not in printed:
                line = process.stdout.readline()
                assert line, f"it ended: {printed}"
                printed += line
            token = re.search(r"HELIOGRAPH_TOKEN=(\S+)", printed)
            assert token
            with Client(f"http://127.0.0.1:{port}", token[1]) as client:
                assert client.backend("periodogram").workers == 1
            assert f"ignored  {', '.join(sorted(not_counting()))}: set by this command itself\n" in printed
            assert "unknown  HELIOGRAPH_SITENAME: no setting has this name, HELIOGRAPH_SITE_NAME has\n" in printed
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SECONDS)


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        process = run("up", "--port", str(port), "--home", "home", home=tmp_path / "home")
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert output == ""
    assert errors == f"port {port} is taken: stop what listens there, or choose another: make up PORT={port + 1}\n"
