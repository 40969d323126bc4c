"""The command about groups of jobs: ``heliograph group``."""

from typing import Annotated

import typer

from heliograph.client.tables import console, print_table, table_of
from heliograph.client.terminal import DEFAULT_URL, Token, Url, connected

_TIME = "%Y-%m-%d %H:%M:%S UTC"


def show_group(
    name: Annotated[str, typer.Argument(help="What the jobs were submitted with as --group")],
    owner: Annotated[str | None, typer.Option(help="Whose; others' jobs take a role")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Show what the jobs of a group amount to, and the first that failed."""
    with connected(url, token) as client:
        group = client.group(name, owner=owner)
    table = table_of()
    table.add_row("group", group.group)
    table.add_row("state", group.state)
    table.add_row("jobs", ", ".join(f"{count} {state}" for state, count in group.counts.items() if count))
    table.add_row("progress", f"{group.progress:.0%} of {group.total}")
    table.add_row("submitted", f"{group.created_at:{_TIME}}")
    if group.ended_at:
        table.add_row("ended", f"{group.ended_at:{_TIME}}")
    print_table(table)
    if group.failed:
        console.print()
        failures = table_of("failed", "name", "error")
        for job in group.failed:
            failures.add_row(job.id, job.name, job.message)
        print_table(failures)
