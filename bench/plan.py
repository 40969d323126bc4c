"""How many events a notifier's rules decide a second, on one core and without a database.

    python -m bench.plan        BENCH_EVENTS sets its size

One event is one job's end, decided for its owner on two channels with preferences, a watcher, two copies for operators
and five mutes of which none holds.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from itertools import cycle, islice

from heliograph.events.model import JobEvent, JobEventData
from heliograph.ids import new_id
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.notices.model import Occasion, Wish
from heliograph.notices.mutes import Mute, MuteScope
from heliograph.notices.notify import Notify
from heliograph.notices.preferences import Preferences, QuietHours
from heliograph.notices.watches import Watch, WatchKind
from heliograph_notifier.recipients import Defaults, Recipient, Sources, recipients
from heliograph_notifier.rules import Plan, plan

EVENTS = int(os.environ.get("BENCH_EVENTS", "20000"))
JOBS = 200  # as many as a batch of the planner may hold at a time
ROUNDS = 5
START = datetime(2026, 11, 19, 20, tzinfo=UTC)
CLOCK = START + timedelta(hours=2)  # past ten in the evening: a notice waits for the morning
NIGHT = QuietHours(clock_time(22), clock_time(7))
CLAIMED = (Wish("email", "ada@example.org", threshold_seconds=0), Wish("matrix", "!room:example.org", done=True))


def main() -> None:
    sources, mutes = known(), silences()
    notify = Notify(claimed=CLAIMED, asked=(Wish("email", submitted=False),), time_zone="Europe/Zurich")
    work = [(ended(job), job) for job in (a_job() for _ in range(JOBS))]
    told = recipients(work[0][1], notify, sources)
    assert len(decide(*work[0], told, mutes).deliveries) == len(told) == 5
    alone = [rate(lambda event, job: decide(event, job, told, mutes), work) for _ in range(ROUNDS)]
    both = [rate(lambda event, job: decide(event, job, recipients(job, notify, sources), mutes), work)
            for _ in range(ROUNDS)]  # fmt: skip
    print(f"rules of notices, {EVENTS} events of {len(told)} recipients, {ROUNDS} rounds")
    for name, rates in (("decided", alone), ("… and who is told", both)):
        print(f"  {name:<22}{statistics.median(rates):8.0f} /s {min(rates):10.0f} slowest")


def rate(work_on: Callable[[JobEvent, Job], object], work: Sequence[tuple[JobEvent, Job]]) -> float:
    """Return how many events a second of this core's time are worked on, whoever else is busy on the machine."""
    began = time.process_time()
    for event, job in islice(cycle(work), EVENTS):
        work_on(event, job)
    return EVENTS / (time.process_time() - began)


def decide(event: JobEvent, job: Job, told: Sequence[Recipient], mutes: Sequence[Mute]) -> Plan:
    return plan(event, job, told, mutes, CLOCK)


def a_job() -> Job:
    return Job(
        id=new_id(), queue="periodogram", owner="ada", state=State.DONE, series=1, seq=3, attempt=1, max_attempts=3,
        priority=0, parameters={}, created_at=START, updated_at=START,
    )  # fmt: skip


def ended(job: Job) -> JobEvent:
    return JobEvent.of_change(JobEventData(
        id=job.id, state=State.DONE, series=1, seq=3, queue=job.queue, owner=job.owner, by="worker",
        at=START + timedelta(hours=1),
    ))  # fmt: skip


def known() -> Sources:
    ada = Preferences(
        "ada", {"email": Wish("email", failed=True)}, "Europe/Zurich", NIGHT, frozenset(range(5)),
        frozenset({Occasion.FAILED}),
    )  # fmt: skip
    watch = Watch("01W", "grace", WatchKind.QUEUE, "periodogram", None, START, (Wish("email", "grace@example.org"),))
    copies = (Wish("email", "ops@example.org"), Wish("matrix", "!ops:example.org"))
    return Sources({"ada": ada}, [watch], (), copies, {"email": Defaults(), "matrix": Defaults()})


def silences() -> list[Mute]:
    return [
        Mute("01A", MuteScope.JOB, "the api", START, of="01OTHER", person="ada"),
        Mute("01B", MuteScope.GROUP, "the api", START, of="night 7", owner="ada", person="ada"),
        Mute("01C", MuteScope.ALL, "the api", START, person="ada", until=START),
        Mute("01D", MuteScope.JOB, "an unsubscribe link", START, of="01OTHER", channel="email",
             recipient="ops@example.org"),
        Mute("01E", MuteScope.GROUP, "a room", START, of="night 7", owner="ada", channel="matrix",
             recipient="!room:example.org"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
