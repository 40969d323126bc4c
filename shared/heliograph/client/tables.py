"""What the command line shows: jobs and backends as tables."""

import json
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from heliograph.client.parameters import parameters_of
from heliograph.ids import short_id
from heliograph.wire import BackendView, JobView

# Names, stages and messages are shown as they are: "[red]" in one of them is no colour, and ":x:" no picture.
console = Console(markup=False, emoji=False, highlight=False)

_WIDEST = 10_000  # characters
_TIME = "%Y-%m-%d %H:%M:%S UTC"


def show_job(job: JobView) -> None:
    """Print a job."""
    rows: list[tuple[str, str | None]] = [
        ("job", f"{job.id} (short {short_id(job.id)})"),
        ("backend", job.backend),
        ("queue", job.queue if job.backend is None else None),
        ("name", job.name),
        ("group", job.group),
        ("parent", job.parent),
        ("state", f"{job.state}{', to be cancelled' if job.cancel_requested and not job.ended_at else ''}"),
        ("stage", job.stage if not job.ended_at else None),
        ("progress", f"{job.progress:.0%}" if job.progress is not None and not job.ended_at else None),
        ("message", job.message),
        ("attempt", f"{job.attempt} of {job.max_attempts}" if job.attempt > 1 else None),
        ("submitted", f"{job.created_at:{_TIME}}"),
        *(("waits for", each) for each in job.waits_for if not job.ended_at),
        ("not before", _ahead(job.not_before) if not job.ended_at else None),
        ("ran", ran(job) or None),
        ("parameters", _json(job.parameters) if job.parameters else None),
        ("result", _json(job.result) if job.result is not None else None),
    ]
    if job.error:
        rows.append(("error" if job.ended_at else "last attempt", f"{job.error.kind}: {job.error.message}"))
        rows.append(("traceback", job.error.traceback))
    rows += [("artifact", f"{each.name} ({each.media_type}, {each.bytes} bytes)") for each in job.artifacts]
    table = table_of()
    for name, value in rows:
        if value is not None:
            table.add_row(name, value)
    print_table(table)


def show_backend(backend: BackendView) -> None:
    """Print a backend and what it takes."""
    console.print(f"{backend.name} {backend.version}: {backend.title}")
    if backend.description:
        console.print(backend.description)
    console.print(f"{_count(backend.workers, 'worker')}; {standing(backend)}{_longest(backend)}")
    parameters = parameters_of(backend.parameters_schema)
    table = table_of("parameter", "type", "default", "meaning")
    for each in parameters:
        table.add_row(each.name, f"{each.type}{', secret' if each.is_secret else ''}", each.default, each.meaning)
    print_table(table)
    if any(each.is_secret for each in parameters):
        console.print("A secret is given with --secret NAME, and asked for, or --secret NAME=@FILE.")


def standing(backend: BackendView) -> str:
    """Return whether jobs of a backend are begun, and how many at a time, in words."""
    limits = {"in all": backend.limits.total, "of one owner": backend.limits.per_owner}
    words = [f"{most} {name}" for name, most in limits.items() if most is not None]
    return f"{'paused' if backend.paused else 'open'}; limits: {', '.join(words) or 'none'}"


def ran(job: JobView) -> str:
    """Return how long the last attempt ran, in words; nothing where it does not say."""
    if not (job.started_at and job.ended_at):
        return ""
    return f"{(job.ended_at - job.started_at).total_seconds():.1f} s"


def table_of(*columns: str) -> Table:
    """Return an empty table whose cells stay whole: a piece of an id is of no use."""
    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    return table


def print_table(table: Table) -> None:
    """Print a table; one that is wider than the terminal is wrapped by the terminal, and never cut."""
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    if needed <= console.width:
        console.print(table)
    else:
        Console(markup=False, emoji=False, highlight=False, width=needed, soft_wrap=True).print(table)


def _longest(backend: BackendView) -> str:
    return f"; a job runs for at most {backend.timeout_seconds:g} s" if backend.timeout_seconds else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ahead(moment: datetime | None) -> str | None:
    """Return a moment that has yet to come; None for any other."""
    return f"{moment.astimezone(UTC):{_TIME}}" if moment and moment > datetime.now(UTC) else None


def _json(value: Any) -> str:
    return json.dumps(value, indent=2 if isinstance(value, dict) else None, ensure_ascii=False)
