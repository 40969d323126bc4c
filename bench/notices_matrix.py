"""How soon a room shows what a running job reports: from the report's write to the homeserver's answer to the edit.

    python -m bench.notices_matrix        BENCH_EDIT_SECONDS sets how long each case is watched

20 jobs report every two seconds, in rooms of their own and all in one, plain and encrypted, on a real Synapse. What
counts for a report is the first edit that shows it or a later one: the latest wins.
"""

import asyncio
import logging
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import structlog

from heliograph.jobs.model import Job
from heliograph.jobs.store.claims import Progress
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.model import Subject
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.channel import MatrixChannel
from heliograph_notifier.channels.matrix.content import Text, message
from heliograph_notifier.channels.matrix.live_messages import LiveMessage, LiveMessages
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_standalone.mongod import Mongod
from tests.parts.jobs import Stores, done, lease_of, open_stores
from tests.parts.matrix import Person, account
from tests.parts.matrix_channel import channel
from tests.parts.synapse import Synapse, User

JOBS = 20
PERIOD_SECONDS = 2.0
SECONDS = float(os.environ.get("BENCH_EDIT_SECONDS", "20"))
LAST = 10_000  # the step that stands for the end


@dataclass
class Watched:
    """When which step of which message was reported, and when it was shown."""

    reported: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    shown: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def latencies(self, *, of_ends: bool) -> list[float]:
        found = []
        for event, reports in self.reported.items():
            for step, at in reports.items():
                if (step == LAST) is of_ends:
                    found.append(min(when for when, seen in self.shown[event] if seen >= step and when >= at) - at)
        return found


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    logging.getLogger("nio").setLevel(logging.CRITICAL)  # it cannot read what an earlier case's device said
    with tempfile.TemporaryDirectory() as folder, Mongod(Path(folder) / "mongod") as mongod:
        mongod.start()
        with Synapse(Path(folder) / "synapse") as server:
            bot = server.register("bot")
            for rooms, is_encrypted in ((JOBS, False), (JOBS, True), (1, False), (1, True)):
                name = f"{JOBS} jobs in {rooms} {'encrypted' if is_encrypted else 'plain'} room{'s' * (rooms > 1)}"
                asyncio.run(edits(name, mongod.url, server, bot, rooms, is_encrypted=is_encrypted))


async def edits(name: str, mongodb_url: str, server: Synapse, bot: User, rooms: int, *, is_encrypted: bool) -> None:
    """Let jobs report for a while, end them, and print how long what they reported took to be shown."""
    database_name = f"edits_{rooms}_{is_encrypted}"
    async with (
        open_stores(mongodb_url, database_name) as stores,
        Person(server, server.register(f"ada_{rooms}_{is_encrypted}".lower())) as ada,
    ):
        await ensure_notice_indexes(stores.database)
        watched = Watched()
        speaker = account(server, bot, stores.database)
        _note_edits(speaker, watched)
        async with channel(stores.database, speaker, Pace()) as matrix:
            places = [await ada.room_with(bot.id, is_encrypted=is_encrypted) for _ in range(rooms)]
            running = [await _begin(stores, matrix, speaker, places[number % rooms], number) for number in range(JOBS)]
            await asyncio.gather(*(_report(stores, watched, job, event) for job, event in running))
            async with asyncio.timeout(120):
                while await LiveMessages(stores.database).open():  # noqa: ASYNC110 - the editor announces nothing
                    await asyncio.sleep(0.1)
    for what, of_ends in (("progress", False), ("ends", True)):
        found = watched.latencies(of_ends=of_ends)
        cuts = quantiles(found, n=100)
        print(f"{name:30} {what:9} {len(found):4} shown after p50 {cuts[49]:5.2f} s, p99 {cuts[98]:5.2f} s")


def _note_edits(speaker: Account, watched: Watched) -> None:
    send = speaker.send

    async def noting(room: str, content: Mapping[str, Any], txn: str, **fields: Any) -> str:
        event = await send(room, content, txn, **fields)
        if "m.new_content" in content:
            body = content["m.new_content"]["body"]
            step = int(body.rpartition("step ")[2].split()[0]) if "step " in body else LAST
            watched.shown[content["m.relates_to"]["event_id"]].append((time.monotonic(), step))
        return event

    speaker.send = noting  # type: ignore[method-assign]  # the clock stands where the answer comes in


async def _begin(
    stores: Stores, matrix: MatrixChannel, speaker: Account, room: str, number: int
) -> tuple[Job, str]:  # fmt: skip
    await stores.submit(name=f"job {number}")
    job = await stores.claim()
    event = await speaker.send(room, message(Text.of("queued")), f"begin {number}")
    live = LiveMessage(Subject.of_job(job.id), 1, room, event, "", f"job {number}", Text("", ""), "queued")
    await LiveMessages(stores.database).record(live)
    matrix._editor.watch(live.watch)  # noqa: SLF001 - a notice would cost what is not measured here
    return job, event


async def _report(stores: Stores, watched: Watched, job: Job, event: str) -> None:
    await asyncio.sleep(PERIOD_SECONDS * (hash(job.id) % 100) / 100)  # they do not report all at once
    for step in range(1, int(SECONDS / PERIOD_SECONDS) + 1):
        progress = Progress(step * PERIOD_SECONDS / SECONDS, message=f"step {step}")
        assert await stores.claims.report(job.id, lease_of(job).token, progress)
        watched.reported[event][step] = time.monotonic()
        await asyncio.sleep(PERIOD_SECONDS)
    assert await stores.finish(job, done())
    watched.reported[event][LAST] = time.monotonic()


if __name__ == "__main__":
    main()
