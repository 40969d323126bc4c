"""The demo: one job on real data, from its submission to the mails and messages about it, shown as it happens."""

import asyncio
import json
import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from heliograph.client import Client
from heliograph.client.progress import follow
from heliograph.jobs.states import State
from heliograph.notices.model import DeliveryStatus
from heliograph.wire import JobView, NoticeView
from heliograph_standalone.catcher import as_person_reads
from heliograph_standalone.standalone import Standalone

if TYPE_CHECKING:
    from heliograph_standalone.matrix_demo import DemoRoom, Seen  # its import brings the Matrix library along

PERSON = "ada@observatory.example"
NOTICES_SECONDS = 20.0
_SIGNED = re.compile(r"(/v1/(?:report|unsubscribe)/\S{8})\S+")  # three lines each, and nobody types them
UNSETTLED = {DeliveryStatus.PLANNED, DeliveryStatus.SENDING}


async def run_demo(standalone: Standalone, folder: Path, room: "DemoRoom | None" = None) -> bool:
    """Run the demo against a standalone and say whether all went well; its last line is a JSON object.

    What the job made, and the mails, are left in ``folder``. With a ``room``, it is told there too.
    """
    console = Console(width=min(Console().width, 110))
    told: dict[str, Any] = {"mxroomid": room.id, "tmx": 0} if room else {}
    if room:
        await room.wait_for_bot()
    token = standalone.tokens.sign(PERSON, lifetime=timedelta(hours=1), tem=0, **told)
    job, notices, seconds = await asyncio.to_thread(_run_job, standalone.url, token, folder, console)
    console.rule("what people are told")
    for number, message in enumerate(standalone.mails.messages, 1):
        await asyncio.to_thread((folder / f"mail-{number}.eml").write_bytes, message.as_bytes())
        console.print(Panel(_SIGNED.sub(r"\1…", as_person_reads(message).strip()), expand=True), markup=False)
    messages = await _settled_room(room, job) if room else []
    for seen in messages:
        console.print(Panel(_as_member_reads(seen), title="an encrypted room, as its members see it"), markup=False)
    _show_notices(notices, console)
    console.print(f"\nfrom submission to the last notice: {seconds:.2f} s")
    result = job.result if isinstance(job.result, dict) else {}
    summary = {
        "job": job.id,
        "state": job.state.value,
        "peak_period_years": result.get("peak_period_years"),
        "artifacts": [artifact.name for artifact in job.artifacts],
        "mails": len(standalone.mails.messages),
        "seconds": round(seconds, 2),
    } | ({"room": [{"edits": seen.edits, "thread": len(seen.thread)} for seen in messages]} if room else {})
    sys.stdout.write(json.dumps(summary) + "\n")
    sys.stdout.flush()
    return job.state is State.DONE and all(notice.status is DeliveryStatus.SENT for notice in notices)


def _run_job(url: str, token: str, folder: Path, console: Console) -> tuple[JobView, list[NoticeView], float]:
    """Act as a user would, over HTTP."""
    folder.mkdir(parents=True, exist_ok=True)
    with Client(url, token) as client:
        console.rule("a job: the period of the sunspot cycle, from 309 years of observations")
        console.print(f"POST {url}/v1/jobs  as {PERSON}")
        began = time.perf_counter()
        submitted = client.submit("periodogram", {}, name="sunspot cycle, 1700-2008")
        job = follow(client, submitted, console)
        notices = _settled(client, job)
        seconds = time.perf_counter() - began
        console.rule("what came of it")
        _show_result(client, job, folder, console)
    return job, notices, seconds


def _settled(client: Client, job: JobView) -> list[NoticeView]:
    """Wait until everybody is told that the job is over, or until that takes too long."""
    deadline = time.monotonic() + NOTICES_SECONDS
    while True:
        notices = client.notices(job.id)
        told = {notice.occasion.value for notice in notices if notice.status not in UNSETTLED}
        if job.state.value in told and all(notice.status not in UNSETTLED for notice in notices):
            return notices
        if time.monotonic() > deadline:
            return notices
        time.sleep(0.05)


async def _settled_room(room: "DemoRoom", job: JobView) -> "list[Seen]":
    """Return what is shown in the room once its message says how the job ended, or once that takes too long."""
    deadline = time.monotonic() + NOTICES_SECONDS
    while True:
        seen = await room.as_seen()
        is_settled = bool(seen) and seen[0].body.startswith(f"{job.name}: {job.state.value}") and bool(seen[0].thread)
        if is_settled or time.monotonic() > deadline:
            return seen


def _as_member_reads(seen: "Seen") -> str:
    parts = [seen.body, f"(edited {seen.edits} times)", *(f"┗ in its thread:\n{words}" for words in seen.thread)]
    return "\n\n".join(parts)


def _show_result(client: Client, job: JobView, folder: Path, console: Console) -> None:
    table = Table(box=None, show_header=False)
    table.add_row("state", job.state)
    if job.error:
        table.add_row("error", job.error.message)
    for name, value in (job.result if isinstance(job.result, dict) else {}).items():
        table.add_row(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
    for artifact in job.artifacts:
        path = client.download(job.id, artifact.name, folder / Path(artifact.name).name)
        table.add_row(artifact.name, f"{path} ({artifact.bytes:,} bytes)")
    console.print(table)


def _show_notices(notices: list[NoticeView], console: Console) -> None:
    console.rule("the ledger of notices")
    for notice in notices:
        lines = (
            f"{notice.occasion}: {notice.status}, over {notice.channel} to {notice.recipient}",
            f"  by the rule {notice.reason}",
            f"  {notice.receipt or 'no receipt'}",
        )
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
