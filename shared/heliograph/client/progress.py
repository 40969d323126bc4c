"""A progress bar that follows a job."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from heliograph.client.client import Client
from heliograph.jobs.states import State
from heliograph.wire import JobView

LOOK_SECONDS = 0.4  # progress is told once a second


def follow(client: Client, job: JobView, console: Console) -> JobView:
    """Show a job's progress until it is over, and return it."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(job.state, total=1.0)
        while True:
            what = f"{job.state}: {job.stage}" if job.stage and not job.ended_at else job.state
            # Many backends tell no progress; a job that is done is at its end all the same.
            completed = 1.0 if job.state is State.DONE else job.progress or 0.0
            progress.update(bar, description=what, completed=completed)
            if job.ended_at:
                return job
            job = client.job(job.id, wait=LOOK_SECONDS)
