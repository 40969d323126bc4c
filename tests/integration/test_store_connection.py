"""How long the database has been there: a break of it, of this process or of its clock starts the count anew."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from heliograph.storage import Database, Document, StoreUnavailableError, database
from heliograph_standalone.mongod import Mongod
from tests.parts.freezing import freeze
from tests.parts.waiting import until

WITHIN_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _fast_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(database, "BREAK_SECONDS", 1.5)


async def test_it_counts_while_every_beat_is_answered(mongodb_url: str, database_name: str) -> None:
    async with Database(mongodb_url, database_name) as here:
        assert not here.is_connected
        assert here.connected_for == timedelta(0)
        await here.wait_connected()
        await until(lambda: here.connected_for > timedelta(seconds=2))
        assert here.is_connected


async def test_the_servers_clock_is_in_utc(mongodb_url: str, database_name: str) -> None:
    async with Database(mongodb_url, database_name) as here:
        assert (await here.now()).utcoffset() == timedelta(0)


async def test_an_answer_after_a_long_silence_starts_the_count_anew(tmp_path: Path) -> None:
    with Mongod(tmp_path) as mongod:
        async with Database(mongod.url) as here:
            await until(lambda: here.connected_for > timedelta(seconds=2))
            mongod.suspend()
            await until(lambda: here.connected_for == timedelta(0))  # though no answer has come yet
            before = time.monotonic()
            mongod.resume()
            counted = await here.confirm_connected()
            assert counted <= timedelta(
                seconds=time.monotonic() - before + 0.02
            )  # the server's clock ticks more slowly


@pytest.mark.faults
async def test_a_restart_of_the_server_starts_the_count_anew(tmp_path: Path) -> None:
    with Mongod(tmp_path) as mongod:
        async with Database(mongod.url) as here:
            await until(lambda: here.connected_for > timedelta(seconds=1))
            await asyncio.to_thread(mongod.stop)
            await until(lambda: not here.is_connected)
            with pytest.raises(StoreUnavailableError):
                await here.now()
            assert await here.confirm_connected() == timedelta(0)
            started = time.monotonic()
            await asyncio.to_thread(mongod.start)
            await asyncio.wait_for(here.wait_connected(), WITHIN_SECONDS)
            assert here.connected_for <= timedelta(seconds=time.monotonic() - started)


@pytest.mark.parametrize("jump", [60.0, -60.0])
async def test_a_jump_of_the_servers_clock_starts_the_count_anew(
    mongodb_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    async with Database(mongodb_url, database_name) as here:
        await until(lambda: here.connected_for > timedelta(seconds=1))
        hello = here._hello

        async def later() -> Document:
            answer = await hello()
            return answer | {"localTime": answer["localTime"] + timedelta(seconds=jump)}

        monkeypatch.setattr(here, "_hello", later)
        assert await here.confirm_connected() == timedelta(0)


# Says how long it has been connected when it is asked, the first thing that it does after it stood still.
PROGRAM = """
import asyncio, sys
from heliograph.storage import Database, database
database.BEAT_SECONDS, database.BREAK_SECONDS = 0.1, 1.5

async def main():
    async with Database(sys.argv[1]) as here:
        asked = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, asked.set)
        while here.connected_for.total_seconds() < 2:
            await asyncio.sleep(0.05)
        print("counting", flush=True)
        await asked.wait()
        print(here.connected_for.total_seconds(), flush=True)

asyncio.run(main())
"""


@pytest.mark.faults
async def test_a_process_that_stood_still_counts_anew(mongodb_url: str) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 - started at once, and read from in a thread
        [sys.executable, "-c", PROGRAM, mongodb_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.to_thread(process.stdout.readline) == "counting\n"
        freeze(process.pid)
        process.stdin.write("now\n")
        process.stdin.flush()
        await asyncio.sleep(2)  # it is this long that it stands still
        os.kill(process.pid, signal.SIGCONT)
        assert float(await asyncio.to_thread(process.stdout.readline)) < 2  # it was more before
    finally:
        process.kill()
        process.communicate()
